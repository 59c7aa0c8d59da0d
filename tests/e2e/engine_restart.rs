//! The engine restarts while no agent runs: the site comes back by itself, every path with its own app.
//!
//! The machine's engine serves others, so this test brings one of its own, in network and mount namespaces of
//! its own: the test's program is started again inside of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::docker::{docker, try_docker};
use crate::stack::{API, COMPOSE, WEB};
use crate::world::World;

/// Set inside the namespaces: the folder of the private engine.
const INSIDE: &str = "AGENTTEST_PRIVATE_ENGINE";
const IMAGES: [&str; 2] = ["nginx:1.30", "agenttest-base:1"];

#[test]
fn after_an_engine_restart_without_an_agent_every_path_answers_with_its_own_app() {
    match std::env::var_os(INSIDE) {
        None => in_namespaces(),
        Some(folder) => comes_back_by_itself(Path::new(&folder)),
    }
}

fn in_namespaces() {
    let folder = tempfile::tempdir().expect("folder");
    let images = folder.path().join("images.tar");
    docker(&["save", "-o", &images.display().to_string(), IMAGES[0], IMAGES[1]]);
    let test = std::thread::current().name().expect("the test's name").to_owned();
    let script = "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture";
    let program = std::env::current_exe().expect("this program");
    let done = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "slave", "sh", "-c", script])
        .arg(program)
        .arg(test)
        .env(INSIDE, folder.path())
        .env("DOCKER_HOST", format!("unix://{}/docker.sock", folder.path().display()))
        .output()
        .expect("unshare (package util-linux)");
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{said}\n--- the engine\n{}", log(folder.path()));
}

fn comes_back_by_itself(folder: &Path) {
    let engine = PrivateEngine::start(folder);
    docker(&["load", "-q", "-i", &folder.join("images.tar").display().to_string()]);
    // After a kill the engine takes all it finds running for stopped by a person: `unless-stopped` stays down.
    let mut world = World::live_with(&COMPOSE.replace("unless-stopped", "always"));
    world.kill();
    assert_eq!((world.says(WEB), world.says(API)), ("web 1".into(), "api 1".into()));

    for signal in ["-TERM", "-KILL"] {
        engine_again(&engine, signal);
        for (path, version) in [(WEB, "web 1"), (API, "api 1")] {
            world.eventually("the app behind its own path", || {
                let answer = crate::http::get(world.port, path).ok().filter(|answer| answer.status == 200)?;
                assert_eq!(answer.body.trim(), version, "{path} is answered by another app");
                Some(())
            });
        }
    }
    // The agent finds everything as it left it.
    let before = world.running();
    world.start();
    world.look();
    assert_eq!(world.running(), before);
}

fn engine_again(engine: &PrivateEngine, signal: &str) {
    engine.end(signal);
    engine.begin();
}

struct PrivateEngine {
    folder: PathBuf,
    child: std::cell::RefCell<Option<Child>>,
}

impl PrivateEngine {
    fn start(folder: &Path) -> Self {
        let engine = Self { folder: folder.to_owned(), child: Default::default() };
        engine.begin();
        engine
    }

    fn begin(&self) {
        let at = self.folder.display();
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("log");
        let child = Command::new("dockerd")
            .args(["--host", &format!("unix://{at}/docker.sock"), "--data-root", &format!("{at}/data")])
            .args(["--exec-root", &format!("{at}/exec"), "--pidfile", &format!("{at}/pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("dockerd (package docker.io)");
        self.child.replace(Some(child));
        let answers = || try_docker(&["info"]).0;
        let waited = (0..300).any(|_| {
            answers() || {
                std::thread::sleep(Duration::from_millis(100));
                false
            }
        });
        assert!(waited, "the private engine does not answer");
    }

    fn end(&self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        child.wait().expect("ended");
        // A killed engine takes its containerd along, and the next would take the ids in these for living ones.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.folder.join(left));
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        self.end("-TERM");
    }
}

fn log(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
