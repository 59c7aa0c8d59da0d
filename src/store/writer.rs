//! The thread that owns the writing connection, and the group commit.
//!
//! A COMMIT costs one flush of the disk whether it carries one row or hundreds. So the thread takes what
//! is queued the moment it begins, runs it in one transaction, commits, and answers all: nobody waits for a
//! timer, and the longer the disk takes the more is carried by the next flush.

use std::any::Any;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::Error;

/// Writes in one transaction, at most: bounds how long the first one waits for its answer.
pub(super) const BATCH: usize = 256;
/// Writes waiting, at most; further callers wait for room.
const QUEUE: usize = 1024;

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Takes the connection and the lock on it; both are let go only when the thread has ended. `commits` counts.
    pub(super) fn start(
        connection: Connection,
        lock: File,
        commits: watch::Sender<u64>,
    ) -> Result<Self, Error> {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                while let Some(first) = waiting.blocking_recv() {
                    let mut batch = vec![first];
                    let committed = transact(&connection, &mut batch, &mut waiting);
                    if committed.is_ok() {
                        commits.send_modify(|count| *count += 1);
                    }
                    batch.into_iter().for_each(|work| work.answer(committed.clone()));
                }
                drop(connection);
                drop(lock);
            })
            .map_err(|error| Error::File { path: "thread `store`".into(), source: Arc::new(error) })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (work, answer) = Queued::new(work);
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        queue.send(Box::new(work)).await.map_err(|_| Error::Closed)?;
        match answer.await.map_err(|_| Error::Closed)? {
            Ok(result) => result,
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}

impl Drop for Writer {
    /// Waits until what is queued is committed and the lock is free, so that the store can be opened again
    /// as soon as the last handle is gone.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            // The last handle may sit in a closure that this very thread is dropping.
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Runs the batch and what is waiting behind it (added to `batch`) in one transaction. The result is the
/// answer to every one of them that did not fail by itself.
pub(super) fn transact(
    connection: &Connection,
    batch: &mut Vec<Box<dyn Work>>,
    waiting: &mut mpsc::Receiver<Box<dyn Work>>,
) -> Result<(), Error> {
    let result = run_all(connection, batch, waiting);
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    result
}

fn run_all(
    connection: &Connection,
    batch: &mut Vec<Box<dyn Work>>,
    waiting: &mut mpsc::Receiver<Box<dyn Work>>,
) -> Result<(), Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut next = 0;
    while let Some(work) = batch.get_mut(next) {
        work.run(connection);
        // A full disk makes SQLite end the whole transaction, not only the statement.
        if connection.is_autocommit() {
            return Err(Error::Shared);
        }
        next += 1;
        if batch.len() < BATCH
            && let Ok(work) = waiting.try_recv()
        {
            batch.push(work);
        }
    }
    Ok(connection.execute_batch("COMMIT")?)
}

/// A queued write, its types forgotten.
pub(super) trait Work: Send {
    fn run(&mut self, connection: &Connection);
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

/// What `work` returned, or the payload of its panic.
type Ran<T, E> = Result<Result<T, E>, Box<dyn Any + Send>>;

pub(super) struct Queued<F, T, E> {
    work: Option<F>,
    result: Option<Ran<T, E>>,
    reply: oneshot::Sender<Ran<T, E>>,
}

impl<F, T, E> Queued<F, T, E> {
    pub(super) fn new(work: F) -> (Self, oneshot::Receiver<Ran<T, E>>) {
        let (reply, answer) = oneshot::channel();
        (Self { work: Some(work), result: None, reply }, answer)
    }
}

impl<F, T, E> Work for Queued<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, connection: &Connection) {
        if let Some(work) = self.work.take() {
            self.result = Some(in_savepoint(connection, work));
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let answer = match (self.result, committed) {
            (Some(Ok(Ok(_))) | None, Err(error)) => Ok(Err(error.into())),
            (Some(result), _) => result,
            (None, Ok(())) => Ok(Err(Error::Closed.into())),
        };
        // Nobody listens when the caller has given up; the write stands all the same.
        let _ = self.reply.send(answer);
    }
}

fn in_savepoint<T, E: From<Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Ran<T, E> {
    let sql = |text| connection.execute_batch(text).map_err(Error::from);
    if let Err(error) = sql("SAVEPOINT work") {
        return Ok(Err(error.into()));
    }
    let result = panic::catch_unwind(AssertUnwindSafe(|| work(connection)));
    let ended = match &result {
        Ok(Ok(_)) => sql("RELEASE work"),
        _ if connection.is_autocommit() => Ok(()),
        _ => sql("ROLLBACK TO work; RELEASE work"),
    };
    match (result, ended) {
        (Ok(Ok(_)), Err(error)) => Ok(Err(error.into())),
        (result, _) => result,
    }
}
