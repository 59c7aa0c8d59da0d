//! The agent as a process of its own: started, killed, started again on the same state.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its output is appended to `log`.
    pub(crate) fn start(config: &Path, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("log");
        // A test that is killed takes its daemon along.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_agent")])
            .arg(config)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("setpriv (package util-linux)");
        Self { child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// As the kernel would, out of memory: nothing is said and nothing is finished.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// As the service manager does. Returns whether it ended well.
    pub(crate) fn terminate(mut self) -> bool {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        self.child.wait().expect("ended").success()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of what a daemon said.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
