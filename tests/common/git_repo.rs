//! Real repositories for tests, made by the `git` program: a bare one to serve and a way to push into it.
#![allow(dead_code, reason = "every test binary that includes this uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bare repository `NAME.git` in a folder, with a working tree beside it that pushes to it.
pub(crate) struct Repo {
    pub(crate) bare: PathBuf,
    tree: PathBuf,
}

impl Repo {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let repo =
            Self { bare: folder.join(format!("{name}.git")), tree: folder.join(format!("{name}.tree")) };
        git(folder, &["init", "-q", "--bare", "-b", "main", path(&repo.bare)]);
        git(&repo.bare, &["config", "receive.denyDeleteCurrent", "ignore"]);
        git(folder, &["init", "-q", "-b", "main", path(&repo.tree)]);
        git(&repo.tree, &["remote", "add", "origin", path(&repo.bare)]);
        repo
    }

    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", path(&self.bare))
    }

    /// The working tree, for what `commit` cannot say.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.tree, arguments)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let at = self.tree.join(name);
        fs::create_dir_all(at.parent().expect("a parent")).expect("folder");
        fs::write(at, content).expect("file");
    }

    /// Commits what is in the working tree and pushes it, rewriting the branch if need be. Returns the id.
    pub(crate) fn push(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "-f", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes one file, commits and pushes.
    pub(crate) fn change(&self, name: &str, content: &str) -> String {
        self.write(name, content);
        self.push(&format!("change {name}"))
    }
}

/// Runs git apart from whatever this machine's user has configured.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
        .output()
        .expect("git runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}
