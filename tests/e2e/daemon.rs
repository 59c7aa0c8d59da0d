//! The agent as a process of its own: started, killed, started again on the same state.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where a daemon is killed: as it begins the nth of these system calls on one file.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) call: &'static str,
    pub(crate) nth: usize,
}

pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its output is appended to `log`.
    pub(crate) fn start(config: &Path, log: &Path) -> Self {
        Self::spawn(Command::new("setpriv"), config, log)
    }

    /// With these variables in its environment.
    pub(crate) fn with_variables(config: &Path, log: &Path, variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new("setpriv");
        command.envs(variables.iter().copied());
        Self::spawn(command, config, log)
    }

    /// Its clock is the machine's, moved by what stands in `offset` (`-1h`), which may change while it runs. What only
    /// measures time is not moved, as on a machine whose clock is set.
    pub(crate) fn with_clock(config: &Path, log: &Path, offset: &Path) -> Self {
        let libraries = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let mut command = Command::new("setpriv");
        command
            .env("LD_PRELOAD", libraries.join("faketime/libfaketime.so.1"))
            .env("FAKETIME_TIMESTAMP_FILE", offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Self::spawn(command, config, log)
    }

    /// Its calls on `file` are written to `trace`, and at `point` the kernel ends it.
    pub(crate) fn traced(
        config: &Path,
        log: &Path,
        file: &Path,
        trace: &Path,
        point: Option<&Point>,
    ) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "strace", "-f", "-qqq", "-o"]).arg(trace);
        command.arg("-P").arg(file).args(["-e", "trace=fsync,fdatasync,pwrite64", "-e", "signal=none"]);
        if let Some(Point { call, nth }) = point {
            command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
        }
        command.arg("setpriv");
        Self::spawn(command, config, log)
    }

    fn spawn(mut command: Command, config: &Path, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("log");
        // A test that is killed takes its daemon along.
        let child = command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_agent"), "run", "--config"])
            .arg(config)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("setpriv and strace (packages util-linux and strace)");
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
