//! Where a secret lies: a file, or a credential that systemd hands to the service. Never the secret itself, so
//! that a configuration can be shown to anybody.
//!
//! Read at each use and kept nowhere: a secret is rotated by writing the file, without a restart.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// More than any key or token; a wrong path to something large must not fill the memory.
const LARGEST: u64 = 64 * 1024;

/// Where systemd keeps the credentials of the unit that is shipped, for root alone and while it runs.
const SERVICE: &str = "/run/credentials/agent.service";

/// A file's path, or `credential:NAME` for what `LoadCredential=NAME:…` of the unit provides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SecretFile {
    File(PathBuf),
    Credential(String),
}

/// Why a secret could not be had. No variant carries any of its text.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the credential `{0}` is asked for, but the service was started without credentials")]
    NoCredentials(String),
    #[error("the secret {path} cannot be read")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the secret {0} is not a file")]
    NotAFile(PathBuf),
    #[error("the secret {0} is larger than 64 KiB")]
    TooLarge(PathBuf),
    #[error("the secret {0} is empty")]
    Empty(PathBuf),
    #[error("the secret {0} is not text (UTF-8)")]
    NotText(PathBuf),
}

impl SecretError {
    /// How to mend it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoCredentials(name) => {
                format!(
                    "add `LoadCredential={name}:/path/to/the/secret` to the unit, or write a path instead"
                )
            }
            Self::Unreadable { path, .. } => {
                format!("check that {} exists and that the agent's user may read it", path.display())
            }
            Self::NotAFile(_) | Self::TooLarge(_) => "check the path".to_owned(),
            Self::Empty(_) | Self::NotText(_) => {
                "write the secret into the file, as one line of text".to_owned()
            }
        }
    }
}

impl SecretFile {
    /// The file to open; for a credential, below the folder named by `CREDENTIALS_DIRECTORY`, or, for a command that
    /// is typed while the service runs, below the service's.
    pub fn path(&self) -> Result<PathBuf, SecretError> {
        let own = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        self.path_below(own.or_else(|| Some(PathBuf::from(SERVICE)).filter(|folder| folder.is_dir())))
    }

    fn path_below(&self, credentials: Option<PathBuf>) -> Result<PathBuf, SecretError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => match credentials {
                Some(folder) => Ok(folder.join(name)),
                None => Err(SecretError::NoCredentials(name.clone())),
            },
        }
    }

    /// The text as it is now, without the line end that editors leave. Hand it on; do not keep it.
    pub fn read(&self) -> Result<String, SecretError> {
        let path = self.path()?;
        let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(SecretError::NotAFile(path));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(SecretError::TooLarge(path));
        }
        let Ok(mut text) = String::from_utf8(bytes) else { return Err(SecretError::NotText(path)) };
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        if text.trim().is_empty() { Err(SecretError::Empty(path)) } else { Ok(text) }
    }

    /// The file mode, when users other than the owner and the group can get at the file.
    pub fn exposed(&self) -> Result<Option<u32>, SecretError> {
        let path = self.path()?;
        let facts = std::fs::metadata(&path)
            .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
        let mode = facts.mode() & 0o7777;
        Ok((mode & 0o007 != 0).then_some(mode))
    }

    pub(super) fn anchor(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }
}

impl From<String> for SecretFile {
    fn from(text: String) -> Self {
        match text.strip_prefix("credential:") {
            Some(name) => Self::Credential(name.to_owned()),
            None => Self::File(text.into()),
        }
    }
}

impl From<SecretFile> for String {
    fn from(secret: SecretFile) -> Self {
        secret.to_string()
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn holding(bytes: &[u8]) -> (tempfile::TempDir, SecretFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        (folder, SecretFile::File(path))
    }

    #[test]
    fn a_rotated_secret_is_seen_at_the_next_read() {
        let (_folder, secret) = holding(b"first\r\n");
        assert_eq!(secret.read().unwrap(), "first");
        std::fs::write(secret.path().unwrap(), "second").unwrap();
        assert_eq!(secret.read().unwrap(), "second");
    }

    #[test]
    fn spaces_inside_and_around_are_the_secrets_own() {
        let (_folder, secret) = holding(b" a b \n");
        assert_eq!(secret.read().unwrap(), " a b ");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let (folder, gone) = holding(b"x");
        drop(folder);
        assert!(matches!(gone.read(), Err(SecretError::Unreadable { .. })));
        let (_a, empty) = holding(b" \n");
        assert!(matches!(empty.read(), Err(SecretError::Empty(_))));
        let (_b, binary) = holding(&[0xff, 0xfe]);
        assert!(matches!(binary.read(), Err(SecretError::NotText(_))));
        let (_c, large) = holding(&vec![b'a'; LARGEST as usize + 1]);
        assert!(matches!(large.read(), Err(SecretError::TooLarge(_))));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(SecretFile::File(folder.path().into()).read(), Err(SecretError::NotAFile(_))));
    }

    #[test]
    fn a_credential_lies_in_the_folder_of_the_service() {
        let secret = SecretFile::from("credential:github".to_owned());
        assert_eq!(secret.path_below(Some("/run/creds".into())).unwrap(), Path::new("/run/creds/github"));
        assert!(matches!(secret.path_below(None), Err(SecretError::NoCredentials(_))));
        assert_eq!(String::from(secret), "credential:github");
    }

    #[test]
    fn a_file_open_to_everybody_is_exposed() {
        let (_folder, secret) = holding(b"x");
        let set = |mode| {
            std::fs::set_permissions(secret.path().unwrap(), std::fs::Permissions::from_mode(mode)).unwrap();
            secret.exposed().unwrap()
        };
        assert_eq!(set(0o600), None);
        assert_eq!(set(0o640), None);
        assert_eq!(set(0o644), Some(0o644));
        assert_eq!(set(0o602), Some(0o602));
    }
}
