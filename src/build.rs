//! Contexts to images: several at once within a limit, each with its log in a file. What is built, and under
//! which tag, was decided before; a tag is made from its inputs, so one that exists is never built again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::engine::{BuildOrder, Engine, EngineError, TarStream};

/// Writes a context as a tar stream; runs on a blocking thread.
pub type ContextWriter = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// One image to be built.
pub struct Job {
    pub order: BuildOrder,
    pub context: ContextWriter,
}

/// How builds are run: from `[build]` of the configuration.
#[derive(Clone, Debug)]
pub struct Builds {
    pub parallel: usize,
    pub timeout: Duration,
    /// Where the logs go: one file an image.
    pub logs: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `log` is the end of the build's output.
    #[error("the build of {tag} failed")]
    Failed {
        tag: String,
        log: String,
        #[source]
        source: EngineError,
    },
    #[error("the build of {tag} took longer than {} s", within.as_secs())]
    TooLong { tag: String, within: Duration, log: String },
    #[error("the build log {} cannot be written", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

const CHUNK: usize = 128 * 1024;
const LOG_LINES: usize = 20;

/// The file a tag's log goes to.
pub fn log_file(folder: &Path, tag: &str) -> PathBuf {
    folder.join(format!("{}.log", tag.replace(['/', ':'], "-")))
}

/// Builds all, `done` being called with each tag and its time. The first failure cancels the others; dropping
/// the future cancels all.
pub async fn build_all<E: Engine>(
    engine: &E,
    jobs: Vec<Job>,
    how: &Builds,
    done: impl Fn(&str, Duration),
) -> Result<BTreeMap<String, String>, BuildError> {
    let running = jobs.into_iter().map(|job| async {
        let begin = Instant::now();
        let tag = job.order.tag.clone();
        let id = one(engine, job, how).await?;
        done(&tag, begin.elapsed());
        Ok((tag, id))
    });
    stream::iter(running).buffer_unordered(how.parallel.max(1)).try_collect().await
}

async fn one<E: Engine>(engine: &E, job: Job, how: &Builds) -> Result<String, BuildError> {
    let Job { order, context } = job;
    let tag = order.tag.clone();
    let path = log_file(&how.logs, &tag);
    let file = fs::create_dir_all(&how.logs).and_then(|()| File::create(&path));
    let log = Mutex::new(Log {
        file: file.map_err(|source| BuildError::Log { path: path.clone(), source })?,
        last: Vec::new(),
    });
    let line = |text: &str| {
        if let Ok(mut log) = log.lock() {
            log.line(text);
        }
    };
    let built = tokio::time::timeout(how.timeout, engine.build(&order, streamed(context), &line)).await;
    let end = || log.lock().map(|log| log.last.join("\n")).unwrap_or_default();
    match built {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(source)) => Err(BuildError::Failed { tag, log: end(), source }),
        Err(_) => Err(BuildError::TooLong { tag, within: how.timeout, log: end() }),
    }
}

struct Log {
    file: File,
    last: Vec<String>,
}

impl Log {
    /// A log that cannot be written is no reason to fail a build that works.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.file, "{text}");
        self.last.push(text.to_owned());
        if self.last.len() > LOG_LINES {
            self.last.remove(0);
        }
    }
}

/// The context as a stream: written on a blocking thread, never whole in memory. When the engine stops reading,
/// the writer's next write fails and its thread ends.
fn streamed(context: ContextWriter) -> TarStream {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        let mut sink = io::BufWriter::with_capacity(CHUNK, Channel(sender.clone()));
        if let Err(error) = context(&mut sink).and_then(|()| sink.flush()) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) },
    )
    .boxed()
}

struct Channel(mpsc::Sender<io::Result<Bytes>>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
