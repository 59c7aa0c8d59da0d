//! Everything that can go wrong on the Git side: one variant a cause, each with what to do about it.

use std::path::PathBuf;

use crate::model::Revision;
use crate::model::class::Class;

use super::ignore::BadLine;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    // -- the configuration
    #[error("`{url}` is not a repository URL")]
    BadUrl { url: String },
    #[error("the URL of {url} carries a user name or a secret")]
    SecretInUrl { url: String },
    #[error("`{branch}` is not a branch name")]
    BadBranch { branch: String },
    #[error("a token would be sent in clear to {url}")]
    TokenInClear { url: String },
    #[error("the credentials do not fit {url}: they need {wanted}")]
    AuthMisfit { url: String, wanted: &'static str },
    #[error("cannot read the secret in {}", path.display())]
    SecretFile { path: PathBuf, source: std::io::Error },
    #[error("{} is empty", path.display())]
    SecretEmpty { path: PathBuf },

    // -- the remote says no
    #[error("{url} asks for credentials and none are configured")]
    CredentialsNeeded { url: String },
    #[error("{url} refused the token in {}", path.display())]
    TokenRefused { url: String, path: PathBuf },
    #[error("{url} knows the credentials but does not let them read (403)")]
    Forbidden { url: String },
    #[error("{url} refused the deploy key {}", path.display())]
    KeyRefused { url: String, path: PathBuf },
    #[error("the deploy key {} cannot be used", path.display())]
    KeyUnusable { path: PathBuf, source: git2::Error },
    #[error("{host} shows the {algorithm} host key {got}, but none is pinned for it")]
    HostKeyUnknown { host: String, algorithm: String, got: String },
    #[error("{host} shows the {algorithm} host key {got}; pinned: {}", pinned.join(", "))]
    HostKeyChanged { host: String, algorithm: String, got: String, pinned: Vec<String> },
    #[error("the certificate of {url} is not trusted")]
    Certificate { url: String, source: git2::Error },
    #[error("there is no repository at {url}, or these credentials may not see it")]
    NoSuchRepository { url: String },
    #[error("{url} has no branch `{branch}`{}", listed(branches))]
    NoSuchBranch { url: String, branch: String, branches: Vec<String> },
    #[error("{url} is an empty repository")]
    EmptyRepository { url: String },
    #[error("`{branch}` was rewritten: {} does not contain {}", now.short(), previous.short())]
    Rewritten { branch: String, previous: Revision, now: Revision },

    // -- the remote does not answer as it should
    #[error("cannot reach {url}")]
    Unreachable { url: String, source: git2::Error },
    #[error("{url} did not answer in time")]
    Silent { url: String, source: git2::Error },
    #[error("talking to {url} failed")]
    Broken { url: String, source: git2::Error },

    // -- the mirror and the disk
    #[error("the mirror {} is damaged; it is cloned anew at the next fetch", folder.display())]
    Damaged { folder: PathBuf, source: git2::Error },
    #[error("cannot use {}", path.display())]
    Disk { path: PathBuf, source: std::io::Error },
    #[error("the build context could not be handed on")]
    Sink { source: std::io::Error },

    // -- what the repository contains
    #[error("the mirror does not hold the revision {revision}")]
    UnknownRevision { revision: Revision },
    #[error("{}: there is no `{path}`", revision.short())]
    NoSuchPath { revision: Revision, path: String },
    #[error("{}: `{path}` is a {is}, not a {wanted}", revision.short())]
    WrongKind { revision: Revision, path: String, is: &'static str, wanted: &'static str },
    #[error("{}: `{path}` is a submodule", revision.short())]
    Submodule { revision: Revision, path: String },
    #[error("{}: a file name in `{path}` is not UTF-8", revision.short())]
    NotUtf8 { revision: Revision, path: String },
    #[error("{}: `{path}` cannot be understood", revision.short())]
    BadIgnore { revision: Revision, path: String, source: BadLine },
}

impl SourceError {
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Broken { .. } | Self::Damaged { .. } => {
                Class::Waiting
            }
            // The mirror may have been made anew since the caller learned of the revision.
            Self::UnknownRevision { .. } => Class::Waiting,
            Self::Disk { .. } | Self::Sink { .. } => Class::Failed,
            _ => Class::Stalled,
        }
    }

    /// What a person can do about it; `None` where waiting is all there is.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadUrl { .. } => "use https://…, ssh://…, user@host:path, file:///… or an absolute path",
            Self::SecretInUrl { .. } => "put the token into a file and name the file in the configuration",
            Self::TokenInClear { .. } => "use https://; plain http is allowed for this machine only",
            Self::SecretFile { .. } | Self::SecretEmpty { .. } => {
                "the file must exist, be readable by the agent and hold the secret alone"
            }
            Self::CredentialsNeeded { .. } => "configure a token, or a deploy key with an ssh URL",
            Self::TokenRefused { .. } => {
                "the token is wrong, expired or revoked: put a new one into the file"
            }
            Self::Forbidden { .. } => "give the token read access to the repository's contents",
            Self::KeyRefused { .. } => {
                "add the public half to the repository's deploy keys (read-only is enough)"
            }
            Self::KeyUnusable { .. } => "it must be an OpenSSH private key without a passphrase",
            Self::HostKeyUnknown { .. } => "compare it with what the host publishes, then pin it",
            Self::HostKeyChanged { .. } => {
                "if the host did not announce a new key, someone may be in between; if it is another key type of \
                 the same host (`ssh-keyscan HOST | ssh-keygen -lf -`), pin it as well"
            }
            Self::Certificate { .. } => {
                "if an authority of your own signed it, name that authority's certificate with `ca_file` under \
                 [source]; else look whether it is expired or for another name"
            }
            Self::NoSuchRepository { .. } => {
                "check the URL; private repositories look absent to a wrong token"
            }
            Self::NoSuchBranch { .. } => "push the branch again, or follow another one",
            Self::EmptyRepository { .. } => "push a first commit",
            Self::Rewritten { .. } => "`ff_only` is set: push a descendant, or allow rewrites",
            Self::Submodule { .. } => {
                "submodules are not fetched: exclude it in .dockerignore or vendor the files"
            }
            Self::NotUtf8 { .. } => "rename the file",
            Self::Disk { .. } => "check free space and permissions",
            _ => return None,
        })
    }
}

fn listed(branches: &[String]) -> String {
    if branches.is_empty() {
        return String::new();
    }
    let more = if branches.len() > 5 { ", …" } else { "" };
    format!(" (it has {}{more})", branches.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
}
