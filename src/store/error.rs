//! What can go wrong with the store, in the words of whoever has to mend it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// Cloneable, because one failed COMMIT is the answer to every write that shared it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no store at {}: the agent has not run with this configuration yet", path.display())]
    Missing { path: PathBuf },
    #[error("cannot use {} for the store", path.display())]
    File { path: PathBuf, source: Arc<io::Error> },
    #[error(
        "another agent{} has the store {} open: stop it first, or let it do the work",
        holder.map(|id| format!(" (process {id})")).unwrap_or_default(),
        path.display()
    )]
    Locked { path: PathBuf, holder: Option<u32> },
    #[error(
        "the store was written by a newer agent (schema {found}, this one knows {known}): \
         install that version again, or restore the copy of the store made before it"
    )]
    Newer { found: i64, known: usize },
    #[error(
        "the store still has an older schema ({found}, this agent needs {known}): \
         start the agent's service once, it brings the store up to date"
    )]
    Older { found: i64, known: usize },
    #[error("cannot bring the store's schema up to date")]
    Migrate(#[source] Arc<rusqlite_migration::Error>),
    // What SQLite says of a full disk tells no more.
    #[error("the disk that holds the store is full; this write was not kept")]
    Full,
    #[error("the disk that holds the store cannot be read or written (SQLite's error {0})")]
    Disk(i32),
    #[error("the store cannot be written: its file or file system is read-only for this user")]
    ReadOnly(#[source] Arc<rusqlite::Error>),
    #[error("the store was opened for reading only")]
    OpenedForReading,
    #[error("the store is damaged: move the file aside and restore a copy, or start anew")]
    Damaged(#[source] Arc<rusqlite::Error>),
    #[error("a write that shared the transaction broke it; this write was not kept")]
    Shared,
    #[error("the store is closed")]
    Closed,
    #[error("the store refused a statement")]
    Statement(#[source] Arc<rusqlite::Error>),
}

impl Error {
    /// What a person can do about it, where the message does not say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full => Some("free some space on the disk with the agent's state folder"),
            Self::Disk(_) => Some(
                "look at the disk with the agent's state folder: `dmesg` tells of a disk that fails, and `mount` of one that has become read-only (ro)",
            ),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
        let error = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) => Self::Disk(extended),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Statement(error),
        }
    }
}
