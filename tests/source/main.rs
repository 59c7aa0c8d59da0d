//! The source room against real repositories, real transports and the real builder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

#[path = "../common/git_repo.rs"]
mod git_repo;
#[path = "../common/git_server.rs"]
mod git_server;

mod builder;
mod content;
mod repair;
mod transport;

use std::path::Path;

use agent::model::Revision;
use agent::source::{Auth, Mirror, Remote, SourceError};
use tempfile::TempDir;

use git_repo::Repo;

/// A repository with one commit and a mirror of it over `file://`, not yet fetched.
struct World {
    folder: TempDir,
    repo: Repo,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let repo = Repo::new(folder.path(), "app");
        repo.change("README.md", "hello\n");
        Self { folder, repo }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn mirror(&self) -> Mirror {
        self.mirror_of(&self.repo.file_url(), Auth::None)
    }

    fn mirror_of(&self, url: &str, auth: Auth) -> Mirror {
        Mirror::open(&self.path().join("mirror"), Remote::new(url, "main", auth).expect("remote"))
            .expect("mirror")
    }

    /// Fetches and returns where the branch is.
    fn fetched(&self, mirror: &Mirror) -> Revision {
        mirror.fetch(None).expect("fetch").revision
    }

    fn head(&self) -> Revision {
        revision(&self.repo.git(&["rev-parse", "HEAD"]))
    }
}

fn revision(text: &str) -> Revision {
    text.parse().expect("revision")
}

/// The error and everything below it, as a person sees it.
fn chain(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
