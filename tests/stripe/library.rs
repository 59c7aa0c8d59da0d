//! Stripe's own libraries: signing as Stripe does, and verifying as an app of a user does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// Far above what anything here takes: only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    Node,
    Python,
}

pub(crate) const BOTH: [Library; 2] = [Library::Node, Library::Python];

impl Library {
    fn command(self) -> (PathBuf, PathBuf) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stripe");
        match self {
            Self::Node => ("node".into(), folder.join("library.mjs")),
            Self::Python => (folder.join("venv/bin/python"), folder.join("library.py")),
        }
    }

    /// The header values for these bodies, signed at these Unix seconds.
    pub(crate) fn sign(self, asked: &[(&str, &str, i64)]) -> Vec<String> {
        let (program, script) = self.command();
        let mut process = Command::new(program)
            .arg(script)
            .arg("sign")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run tests/stripe/setup first");
        process.stdin.take().unwrap().write_all(&serde_json::to_vec(asked).unwrap()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "signing failed; run tests/stripe/setup first");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts an app that verifies with this secret.
    pub(crate) async fn app(self, secret: &str) -> Verifier {
        let (program, script) = self.command();
        let mut process = tokio::process::Command::new(program)
            .arg(script)
            .arg("app")
            .env("SECRET", secret)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run tests/stripe/setup first");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("the app did not start");
        Verifier { port: port.parse().unwrap(), lines, _process: process }
    }
}

/// An app that uses Stripe's library without a change.
pub(crate) struct Verifier {
    pub(crate) port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Verifier {
    /// What it made of the next request.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(HANG, self.lines.next_line()).await.expect("the app was not asked");
        serde_json::from_str(&line.unwrap().expect("the app ended")).unwrap()
    }
}
