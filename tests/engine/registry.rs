//! A real registry that asks for a name and a password, on a loopback port.
//! Needs the program `docker-registry` (Debian's package of that name).

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use agent::engine::docker::Docker;
use agent::engine::{BuildOrder, Engine, EngineError};
use agent::model::class::Class;
use futures_util::{StreamExt, stream};

use crate::yard::{BASE, Yard};

/// `ann`, whose password is `s:3cret`.
const USERS: &str = "ann:$2b$04$QkR3ngHWY0vNV455r9O.VuFtlE04wqWImxI4lhu5.zbzO33H74jnu\n";
const AUTH: &str = "YW5uOnM6M2NyZXQ=";

struct Registry {
    program: Child,
    host: String,
    folder: tempfile::TempDir,
}

impl Registry {
    fn started() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("users"), USERS).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: '{host}' }}\nauth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
            path("data"),
            path("users")
        );
        std::fs::write(path("registry.yml"), config).unwrap();
        let login = format!(r#"{{"auths":{{"{host}":{{"auth":"{AUTH}"}}}}}}"#);
        std::fs::write(path("config.json"), login).unwrap();
        let started = Command::new("docker-registry")
            .args(["serve", &path("registry.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let program = started.expect("docker-registry is missing: run `script/bootstrap --test`");
        while TcpStream::connect(&host).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { program, host, folder }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

pub(crate) async fn a_private_registry_serves_who_is_signed_in(yard: &Yard) {
    let registry = Registry::started();
    let login = registry.folder.path();
    let name = format!("{}/{}:1", registry.host, yard.stack);
    let unknown = Docker::connect(None).await.unwrap().with_login(login.join("nothing"));
    let known = unknown.clone().with_login(login.to_owned());
    unknown.tag(BASE, &name).await.unwrap();
    yard.docker(&["--config", login.to_str().unwrap(), "push", "-q", &name]);
    unknown.untag(&name).await.unwrap();

    let refused = unknown.pull(&name, &|_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("auth")),
        "{refused:?}"
    );
    let absent = known.pull(&format!("{}/{}:2", registry.host, yard.stack), &|_| {}).await.unwrap_err();
    assert_eq!(absent.class(), Class::Stalled, "{absent:?}");
    assert!(absent.to_string().contains(&yard.stack), "{absent}");

    let lines = Mutex::new(Vec::new());
    let id = known.pull(&name, &|line| lines.lock().unwrap().push(line.to_owned())).await.unwrap();
    assert_eq!(known.image(&name).await.unwrap(), Some(id));
    let lines = lines.into_inner().unwrap();
    assert!(lines.iter().any(|line| line.starts_with("Digest: sha256:")), "{lines:?}");
    known.untag(&name).await.unwrap();

    let order = BuildOrder {
        stack: yard.stack.clone(),
        tag: format!("{}:built", yard.stack),
        dockerfile: "Dockerfile".to_owned(),
        no_cache: true,
        ..Default::default()
    };
    let context = || {
        let text = format!("FROM {name}\nRUN true\n");
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, "Dockerfile", text.as_bytes()).unwrap();
        stream::iter([Ok(tar.into_inner().unwrap().into())]).boxed()
    };
    known.build(&order, context(), &|_| {}).await.unwrap();
}
