//! A few reading connections, kept open and lent to blocking threads.

use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Error, open};

/// Readers at once. More would only compete for the same two or four cores of a small server.
const AT_ONCE: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Self { path: path.to_owned(), idle: Arc::default(), permits }
    }

    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        // Travels with the work: a caller that goes away does not make room for a fifth connection.
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| open::readable(&path), Ok)?;
            let result = at_one_moment(&connection, work);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => panic::resume_unwind(payload),
                Err(_) => Err(Error::Closed.into()),
            },
        }
    }
}

fn at_one_moment<T, E: From<Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    // Dropped at the end, which only ends the snapshot: there is nothing to keep.
    let _snapshot = connection.unchecked_transaction().map_err(Error::from)?;
    work(connection)
}
