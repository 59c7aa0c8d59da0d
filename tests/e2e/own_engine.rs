//! An engine of a test's own, which may be ended, starved and started again: the machine's serves others.
//!
//! It runs in network and mount namespaces of its own: the test's program is started again inside of them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::docker::{docker, try_docker};

/// Set inside the namespaces: the folder of the engine.
const INSIDE: &str = "AGENTTEST_PRIVATE_ENGINE";
const IMAGES: [&str; 2] = ["nginx:1.30", "agenttest-base:1"];

/// Runs the test that calls it on an engine of its own, which has the images that the stack needs.
pub(crate) fn with_own_engine(test: impl FnOnce(&OwnEngine)) {
    match std::env::var_os(INSIDE) {
        None => in_namespaces(),
        Some(folder) => {
            let engine = OwnEngine { folder: folder.into(), child: RefCell::default() };
            engine.begin();
            engine.load();
            test(&engine);
        }
    }
}

/// A file system of this size at a folder, for this test's processes only, until it is dropped.
pub(crate) fn small_disk(at: &Path, megabytes: u32) -> Mounted {
    std::fs::create_dir_all(at).expect("folder");
    mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "tmpfs"], at);
    Mounted(at.to_owned())
}

pub(crate) struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Somebody may still have a file there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).status().expect("mount");
    assert!(done.success(), "mount {arguments:?} {}", at.display());
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
    eprintln!("{said}");
}

pub(crate) struct OwnEngine {
    folder: PathBuf,
    child: RefCell<Option<Child>>,
}

impl OwnEngine {
    /// Ends it by a signal and starts it again.
    pub(crate) fn restart(&self, signal: &str) {
        self.end(signal);
        self.begin();
    }

    /// Where it keeps images and containers.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn load(&self) {
        docker(&["load", "-q", "-i", &self.folder.join("images.tar").display().to_string()]);
    }

    pub(crate) fn begin(&self) {
        let at = self.folder.display();
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "dockerd"])
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

    pub(crate) fn end(&self, signal: &str) {
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

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.end("-TERM");
    }
}

fn log(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
