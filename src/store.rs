//! The one SQLite database: opened safely, migrated, written by one thread, read by many.
//!
//! A write is answered only after its COMMIT has reached the disk (WAL with `synchronous=FULL`), so whoever
//! was told "yes" may tell the world. The tables belong to the wings that use them; this room knows none of
//! them, and takes no decision about what is worth keeping.

mod error;
mod open;
mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::watch;

pub use error::Error;
use readers::Readers;
use writer::Writer;

/// One step of the schema. The database counts how many of the ordered list it has taken, so a released
/// migration is never edited, moved or removed: a change is a new one at the end.
#[derive(Clone, Copy, Debug)]
pub struct Migration(pub &'static str);

/// A handle on the store; clones share the writer thread and the reading connections.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` when opened for reading only.
    writer: Option<Writer>,
    readers: Readers,
    commits: watch::Sender<u64>,
}

impl Store {
    /// Opens the store for reading and writing, making the file (0600) and missing folders (0700) and
    /// bringing the schema up to the end of `migrations`.
    ///
    /// One process at a time: a second one gets [`Error::Locked`]. The kernel drops the lock when the
    /// process ends in whatever way, so none can be left behind. Blocks for as long as migrating takes.
    pub fn open(path: &Path, migrations: &[Migration]) -> Result<Self, Error> {
        let (connection, lock) = open::writable(path, migrations)?;
        let commits = watch::Sender::new(0);
        let writer = Writer::start(connection, lock, commits.clone())?;
        let readers = Readers::new(path);
        Ok(Self { shared: Arc::new(Shared { writer: Some(writer), readers, commits }) })
    }

    /// Opens an existing store for reading, whether or not a daemon has it open for writing.
    ///
    /// The schema must be exactly the one this program knows: it is not migrated here.
    pub fn read_only(path: &Path, migrations: &[Migration]) -> Result<Self, Error> {
        open::check_schema(&open::readable(path)?, migrations.len())?;
        let (readers, commits) = (Readers::new(path), watch::Sender::new(0));
        Ok(Self { shared: Arc::new(Shared { writer: None, readers, commits }) })
    }

    /// Runs `work` inside a transaction and returns once that is durable.
    ///
    /// Writes queued at the same time share one COMMIT, each in its own savepoint: an error from `work`
    /// undoes this work alone. If the future is dropped before it is done, `work` may still happen. A panic
    /// in `work` is undone like an error and continues in the caller.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.shared.writer {
            Some(writer) => writer.write(work).await,
            None => Err(Error::OpenedForReading.into()),
        }
    }

    /// Counts this process's commits, for whoever shows what the store holds and wants to know when to look again.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }

    /// Runs `work` on a connection that cannot write, off the async threads. All its statements see one
    /// moment of the store; it neither waits for writers nor keeps them waiting.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.shared.readers.read(work).await
    }
}

#[cfg(test)]
mod tests;
