//! Commits signed with SSH keys, as `git commit -S` makes them with `gpg.format = ssh`: held against a file of allowed
//! signers by `ssh-keygen`, the way Git itself does it. Every kind of key that OpenSSH knows counts, hardware keys
//! and certificates included. PGP signatures do not.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Candidate, Objection};

/// It only computes; whatever takes longer hangs.
const WITHIN: Duration = Duration::from_secs(20);
/// What Git signs commits for: a signature made for anything else does not count.
const NAMESPACE: &str = "git";
const BEGINNING: &str = "-----BEGIN SSH SIGNATURE-----";

/// Whose commits may run.
pub struct Signers {
    /// In the form of `ssh-keygen(1)`, ALLOWED SIGNERS. Read anew each time.
    allowed: PathBuf,
    /// Where a signature is written down for `ssh-keygen` to read; made when absent.
    scratch: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum SignersError {
    #[error("{} cannot be read", .0.display())]
    Allowed(PathBuf, #[source] io::Error),
    #[error("{} cannot be written", .0.display())]
    Scratch(PathBuf, #[source] io::Error),
    #[error("ssh-keygen cannot be run")]
    Program(#[source] io::Error),
    #[error("ssh-keygen did not end")]
    Hangs,
}

impl SignersError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Allowed(path, _) => {
                format!("write {} with a line for each signer: NAME KEYTYPE KEY", path.display())
            }
            Self::Scratch(..) => "see `state` of the configuration".to_owned(),
            Self::Program(_) | Self::Hangs => {
                "install OpenSSH's client: apt-get install openssh-client".to_owned()
            }
        }
    }
}

impl Signers {
    /// `allowed`: the file of allowed signers. `scratch`: a folder of our own.
    pub fn new(allowed: PathBuf, scratch: PathBuf) -> Self {
        Self { allowed, scratch }
    }

    pub(super) async fn judge(&self, candidate: &Candidate) -> Result<Option<Objection>, SignersError> {
        let no = |why: &str| {
            let file = self.allowed.display();
            let hint = format!("sign with a key that {file} lists: git commit --amend -S, then push");
            Ok(Some(Objection { why: why.to_owned(), hint: Some(hint), again: None }))
        };
        let Some((signature, signed)) = &candidate.signature else { return no("it is not signed") };
        if !signature.trim_start().starts_with(BEGINNING) {
            return no("its signature is not of an SSH key");
        }
        tokio::fs::metadata(&self.allowed)
            .await
            .map_err(|source| SignersError::Allowed(self.allowed.clone(), source))?;
        let written = self.write(candidate, signature).await?;
        let verified = self.verify(&written, signed).await;
        // Left over it would only be written again.
        let _ = tokio::fs::remove_file(&written).await;
        match verified? {
            true => Ok(None),
            false => no("nobody signed it who is allowed to"),
        }
    }

    /// The file is named after the revision, which the signature is part of: two writers write the same.
    async fn write(&self, candidate: &Candidate, signature: &str) -> Result<PathBuf, SignersError> {
        let path = self.scratch.join(candidate.revision.as_str());
        let failed = |source| SignersError::Scratch(path.clone(), source);
        tokio::fs::create_dir_all(&self.scratch).await.map_err(failed)?;
        tokio::fs::write(&path, signature).await.map_err(failed)?;
        Ok(path)
    }

    /// Whether one of the names that the key stands for signed this. A signature names its key and not its person,
    /// so the person is looked up first.
    async fn verify(&self, signature: &Path, signed: &[u8]) -> Result<bool, SignersError> {
        let found = self.keygen(&["find-principals"], signature, b"").await?;
        if !found.status.success() {
            return Ok(false);
        }
        for name in String::from_utf8_lossy(&found.stdout).lines() {
            let arguments = ["verify", "-n", NAMESPACE, "-I", name];
            if self.keygen(&arguments, signature, signed).await?.status.success() {
                tracing::info!(signer = name, "the commit is signed");
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn keygen(&self, what: &[&str], signature: &Path, input: &[u8]) -> Result<Output, SignersError> {
        let mut command = Command::new("ssh-keygen");
        command.arg("-Y").args(what).arg("-f").arg(&self.allowed).arg("-s").arg(signature);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(SignersError::Program)?;
        let work = async {
            if let Some(mut stdin) = child.stdin.take() {
                // It may have its answer before it has read everything.
                let _ = stdin.write_all(input).await;
            }
            child.wait_with_output().await.map_err(SignersError::Program)
        };
        let output = timeout(WITHIN, work).await.map_err(|_| SignersError::Hangs)??;
        tracing::debug!(?what, stderr = %String::from_utf8_lossy(&output.stderr).trim(), "ssh-keygen");
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    /// Signs as `git` does, with real keys.
    struct Desk(tempfile::TempDir);

    impl Desk {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Makes a key and returns its line's type and text.
        fn key(&self, name: &str, kind: &[&str]) -> String {
            let mut command = process::Command::new("ssh-keygen");
            command.args(["-q", "-N", "", "-C", name, "-f"]).arg(self.path(name)).arg("-t").args(kind);
            assert!(command.status().unwrap().success());
            std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
        }

        fn sign(&self, name: &str, namespace: &str, text: &str) -> Candidate {
            let file = self.path("text");
            let _ = std::fs::remove_file(self.path("text.sig"));
            std::fs::write(&file, text).unwrap();
            let mut command = process::Command::new("ssh-keygen");
            command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(self.path(name)).arg(&file);
            assert!(command.stderr(Stdio::null()).status().unwrap().success());
            let signature = std::fs::read_to_string(self.path("text.sig")).unwrap();
            let revision = "a".repeat(40).parse().unwrap();
            Candidate { revision, message: String::new(), signature: Some((signature, text.into())) }
        }

        fn signers(&self, lines: &str) -> Signers {
            std::fs::write(self.path("allowed"), lines).unwrap();
            Signers::new(self.path("allowed"), self.path("scratch"))
        }
    }

    async fn why(signers: &Signers, candidate: &Candidate) -> Option<String> {
        signers.judge(candidate).await.unwrap().map(|objection| objection.why)
    }

    const STRANGER: &str = "nobody signed it who is allowed to";

    #[tokio::test]
    async fn whoever_is_listed_may_with_any_kind_of_key() {
        let desk = Desk::new();
        for (name, kind) in
            [("ed", &["ed25519"][..]), ("rsa", &["rsa", "-b", "3072"]), ("ec", &["ecdsa", "-b", "256"])]
        {
            let line = format!("{name}@example.com {}", desk.key(name, kind));
            let signers = desk.signers(&format!(
                "# people\nother@example.com {}{line}",
                desk.key(&format!("{name}2"), kind)
            ));
            assert_eq!(why(&signers, &desk.sign(name, "git", "tree 1\n")).await, None, "{name}");
            assert!(std::fs::read_dir(desk.path("scratch")).unwrap().next().is_none(), "left behind");
        }
    }

    #[tokio::test]
    async fn strangers_other_texts_and_other_uses_are_refused() {
        let desk = Desk::new();
        let (mine, _theirs) = (desk.key("mine", &["ed25519"]), desk.key("theirs", &["ed25519"]));
        let signers = desk.signers(&format!("me@example.com {mine}"));
        assert_eq!(why(&signers, &desk.sign("theirs", "git", "tree 1\n")).await.as_deref(), Some(STRANGER));
        assert_eq!(why(&signers, &desk.sign("mine", "file", "tree 1\n")).await.as_deref(), Some(STRANGER));
        let mut changed = desk.sign("mine", "git", "tree 1\n");
        changed.signature.as_mut().unwrap().1 = b"tree 2\n".to_vec();
        assert_eq!(why(&signers, &changed).await.as_deref(), Some(STRANGER));
        let ended = desk.signers(&format!("me@example.com valid-before=\"20200101\" {mine}"));
        assert_eq!(why(&ended, &desk.sign("mine", "git", "tree 1\n")).await.as_deref(), Some(STRANGER));
        let elsewhere = desk.signers(&format!("me@example.com namespaces=\"file\" {mine}"));
        assert_eq!(why(&elsewhere, &desk.sign("mine", "git", "tree 1\n")).await.as_deref(), Some(STRANGER));
        assert_eq!(
            why(&desk.signers(""), &desk.sign("mine", "git", "tree 1\n")).await.as_deref(),
            Some(STRANGER)
        );
    }

    #[tokio::test]
    async fn what_is_not_signed_or_otherwise_says_so() {
        let desk = Desk::new();
        let signers = desk.signers("");
        let mut candidate =
            Candidate { revision: "a".repeat(40).parse().unwrap(), message: String::new(), signature: None };
        assert_eq!(why(&signers, &candidate).await.as_deref(), Some("it is not signed"));
        candidate.signature = Some(("-----BEGIN PGP SIGNATURE-----\n…".to_owned(), Vec::new()));
        assert_eq!(why(&signers, &candidate).await.as_deref(), Some("its signature is not of an SSH key"));
        candidate.signature = Some((format!("{BEGINNING}\nnonsense\n"), Vec::new()));
        assert_eq!(why(&signers, &candidate).await.as_deref(), Some(STRANGER));
        std::fs::remove_file(desk.path("allowed")).unwrap();
        let error = signers.judge(&candidate).await.unwrap_err();
        assert!(matches!(error, SignersError::Allowed(..)), "{error:?}");
    }
}
