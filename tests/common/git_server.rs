//! Real Git servers on loopback: smart HTTP through `git http-backend`, SSH through `sshd`, and one that
//! accepts and stays silent. Each ends when dropped.
#![allow(dead_code, reason = "every test binary that includes this uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

/// Serves every repository below a folder at `http://127.0.0.1:PORT/NAME.git`.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    site: Arc<Site>,
    runtime: Option<Runtime>,
}

struct Site {
    root: PathBuf,
    rules: Mutex<Rules>,
}

#[derive(Default)]
struct Rules {
    /// `Basic` credentials asked for, as `user:password`.
    login: Option<String>,
    /// Answered to everyone who passed the login.
    refusal: Option<u16>,
    /// `METHOD path?query` of each request let through.
    seen: Vec<String>,
}

impl HttpServer {
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_on(root, 0)
    }

    /// On a port of choice: for a server that comes back where it was.
    pub(crate) fn start_on(root: &Path, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let site = Arc::new(Site { root: root.to_owned(), rules: Mutex::default() });
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))).expect("a port");
        let address = listener.local_addr().expect("address");
        let router = Router::new().fallback(serve).with_state(Arc::clone(&site));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, site, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    pub(crate) fn require_login(&self, user: &str, password: &str) {
        self.site.rules.lock().expect("rules").login = Some(format!("{user}:{password}"));
    }

    pub(crate) fn refuse_with(&self, status: Option<u16>) {
        self.site.rules.lock().expect("rules").refusal = status;
    }

    /// What was asked since the last call.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.site.rules.lock().expect("rules").seen)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waited for: the port must be closed when this returns.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

async fn serve(State(site): State<Arc<Site>>, request: Request) -> Response {
    let plain = |status: StatusCode| {
        let builder = Response::builder().status(status);
        match status {
            StatusCode::UNAUTHORIZED => builder.header(header::WWW_AUTHENTICATE, "Basic realm=\"git\""),
            _ => builder,
        }
        .body(Body::empty())
        .expect("response")
    };
    {
        let mut rules = site.rules.lock().expect("rules");
        if let Some(login) = &rules.login {
            let wanted = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login));
            if request.headers().get(header::AUTHORIZATION).is_none_or(|sent| sent != wanted.as_str()) {
                return plain(StatusCode::UNAUTHORIZED);
            }
        }
        if let Some(status) = rules.refusal {
            return plain(StatusCode::from_u16(status).expect("status"));
        }
        rules.seen.push(format!("{} {}", request.method(), request.uri()));
    }
    backend(&site.root, request).await
}

/// One request as CGI, the way any web server hands it to git.
async fn backend(root: &Path, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("body");
    let text = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "ada")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend");
    let mut stdin = child.stdin.take().expect("stdin");
    let feed = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.expect("output");
    let _ = feed.await;
    let split = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("CGI headers");
    let mut builder = Response::builder();
    for line in String::from_utf8_lossy(&output.stdout[..split]).lines() {
        let (name, value) = line.split_once(": ").expect("CGI header");
        builder = match name {
            "Status" => builder.status(value[..3].parse::<u16>().expect("status")),
            _ => builder.header(name, value),
        };
    }
    builder.body(Body::from(output.stdout[split + 4..].to_vec())).expect("response")
}

/// `sshd` for the user who runs the tests, with keys of its own.
pub(crate) struct SshServer {
    pub(crate) port: u16,
    folder: PathBuf,
    child: Child,
}

impl SshServer {
    /// `folder` holds its keys and is made when absent; a second start in it finds the same ones.
    pub(crate) fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("folder");
        // sshd run by root insists on its empty folder, which only an init script makes.
        let _ = fs::create_dir_all("/run/sshd");
        if !folder.join("host").exists() {
            new_key(&folder.join("host"));
        }
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("port").port();
        let at = folder.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n"
        );
        fs::write(folder.join("config"), config).expect("config");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-E"])
            .arg(folder.join("log"))
            .arg("-f")
            .arg(folder.join("config"))
            .spawn()
            .expect("sshd");
        let server = Self { port, folder: folder.to_owned(), child };
        wait_for(port);
        server
    }

    pub(crate) fn url(&self, bare: &Path) -> String {
        let user = Command::new("id").arg("-un").output().expect("id").stdout;
        format!("ssh://{}@127.0.0.1:{}{}", String::from_utf8_lossy(&user).trim(), self.port, bare.display())
    }

    /// Lets the owner of this private key in.
    pub(crate) fn authorize(&self, key: &Path) {
        fs::copy(key.with_extension("pub"), self.folder.join("authorized")).expect("authorized keys");
    }

    /// `SHA256:…` of the host key, as ssh-keygen prints it.
    pub(crate) fn fingerprint(&self) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.folder.join("host.pub"))
            .output()
            .expect("ssh-keygen");
        String::from_utf8_lossy(&output.stdout).split(' ').nth(1).expect("fingerprint").to_owned()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A private key at `path`, its public half at `path.pub`.
pub(crate) fn new_key(path: &Path) {
    let done = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(done.expect("ssh-keygen").success());
}

/// Accepts connections, reads nothing and answers nothing.
pub(crate) struct SilentServer {
    pub(crate) address: SocketAddr,
}

impl SilentServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("port");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            let mut held = Vec::new();
            held.extend(listener.incoming().flatten());
        });
        Self { address }
    }
}

fn wait_for(port: u16) {
    for _ in 0..500 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing listens on {port}");
}
