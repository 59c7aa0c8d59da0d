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
use std::io::{BufRead as _, BufReader};
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

/// TLS in front of somebody, with a certificate for 127.0.0.1 that an authority of its own has signed.
pub(crate) struct TlsFront {
    pub(crate) port: u16,
    /// The authority's certificate, PEM.
    pub(crate) authority: PathBuf,
    child: Child,
}

/// Bytes from one side to the other, nothing else.
const TLS_FRONT: &str = r#"
import socket, ssl, sys, threading
folder, behind = sys.argv[1], int(sys.argv[2])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)

def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()

def serve(plain):
    try:
        client = context.wrap_socket(plain, server_side=True)
        server = socket.create_connection(("127.0.0.1", behind))
    except OSError:
        return plain.close()
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

impl TlsFront {
    /// `folder` is made and holds keys and certificates.
    pub(crate) fn start(folder: &Path, behind: SocketAddr) -> Self {
        fs::create_dir_all(folder).expect("folder");
        let authority = new_authority(folder, "authority");
        let openssl = |arguments: &[&str]| run("openssl", folder, arguments);
        openssl(&[
            "req",
            "-newkey",
            "ec:p256.pem",
            "-nodes",
            "-subj",
            "/CN=git",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]);
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("names");
        let signed =
            ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names"];
        openssl(&[&["x509", "-req", "-in", "server.csr", "-out", "server.pem"], &signed[..]].concat());
        let mut child = Command::new("python3")
            .args(["-c", TLS_FRONT])
            .arg(folder)
            .arg(behind.port().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a port");
        Self { port: line.trim().parse().expect("a port"), authority, child }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}.git", self.port)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The certificate of an authority that has signed nothing yet.
pub(crate) fn new_authority(folder: &Path, name: &str) -> PathBuf {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    run("openssl", folder, &["ecparam", "-name", "prime256v1", "-out", "p256.pem"]);
    let subject = format!("/CN={name}");
    let made = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &certificate];
    run("openssl", folder, &[&["req", "-x509", "-newkey", "ec:p256.pem", "-days", "2"], &made[..]].concat());
    folder.join(certificate)
}

fn run(program: &str, folder: &Path, arguments: &[&str]) {
    let done = Command::new(program).current_dir(folder).args(arguments).output().expect(program);
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
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
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        Self::start_on(folder, free.expect("port").port())
    }

    /// On a port of choice: for a host that comes back with another key.
    pub(crate) fn start_on(folder: &Path, port: u16) -> Self {
        fs::create_dir_all(folder).expect("folder");
        // sshd run by root insists on its empty folder, which only an init script makes.
        let _ = fs::create_dir_all("/run/sshd");
        if !folder.join("host").exists() {
            new_key(&folder.join("host"));
        }
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
