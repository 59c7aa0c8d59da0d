//! New instances beside the old ones, through their gates; the old ones out of sight, empty, gone. What happens
//! in between (nginx) is not known here.
//!
//! Every act is announced in the journal before it is done. [`revert`] and [`retire`] need only the plan and what
//! the engine shows, so they serve a failure and a crash alike.

mod bring_up;
mod callers;
mod drain;
mod folder;
mod gate;
mod hosts;
pub mod probe;
mod refresh;
mod retire;
mod revert;
mod sockets;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Desired;
use crate::model::instance::{Instance, Observed};
use crate::model::run::{Entry, RunId};
use crate::plan::diff::Plan;
use crate::report;

pub use bring_up::{bring_up, bring_up_proxy};
pub use callers::leave_callers;
pub use folder::{forget_old, shown};
pub use gate::ask_who_stays;
pub use refresh::{prepare, put_back_content, refresh};
pub use retire::retire;
pub use revert::revert;

/// An engine that is started again is back within this.
const OBSERVE_TRIES: usize = 10;
const OBSERVE_PAUSE: Duration = Duration::from_secs(1);

/// What the engine shows, also one that is just started again; `hurried`, nobody waits for that.
pub async fn observe_again<E: Engine>(
    engine: &E,
    stack: &str,
    hurried: impl Fn() -> bool,
) -> Result<Observed, EngineError> {
    for _ in 1..OBSERVE_TRIES {
        match engine.observe(stack).await {
            Err(error) if !hurried() => tracing::warn!("it is asked again: {}", report::line(&error)),
            seen => return seen,
        }
        sleep(OBSERVE_PAUSE).await;
    }
    engine.observe(stack).await
}

/// Where a run's entries go. An entry is durable when the future is done.
pub trait Journal: Sync {
    fn write(&self, entry: Entry) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// Who can let requests wait.
pub trait Hold: Sync {
    /// Requests for the service wait from now on, because nobody will answer them for a while. Returns whether they do.
    fn hold<'a>(&'a self, service: &'a str) -> BoxFuture<'a, bool>;

    /// Whether requests for the service wait.
    fn holds(&self, service: &str) -> bool;

    /// What they wait for is there again: they go there, and so does whoever comes.
    fn let_back<'a>(&'a self, service: &'a str) -> BoxFuture<'a, ()>;
}

/// The log could not be written, so nothing more may be done.
#[derive(Debug, thiserror::Error)]
#[error("the run's log cannot be written")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// How patiently: from `[roll]` of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    /// How long requests in flight may take before an old instance is stopped all the same.
    pub drain: Duration,
    /// What a release no longer has is stopped and kept, to be there as long as the release may be taken back.
    pub keep_removed: bool,
}

/// One plan being carried out.
pub struct Rolling<'a, E, J> {
    pub engine: &'a E,
    pub journal: &'a J,
    pub hold: &'a dyn Hold,
    pub desired: &'a Desired,
    /// What ran before, to be put back as it was.
    pub before: Option<&'a Desired>,
    pub plan: &'a Plan,
    pub run: RunId,
    pub pace: Pace,
    /// Somebody wants something newer: stop waiting.
    pub newer: &'a CancellationToken,
    /// When its way back began, in milliseconds since the Unix epoch, if the agent that began the run is gone: what that
    /// had asked of the engine may still come to pass.
    pub cut_off: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// An instance did not pass its gate. `log` is the end of its output.
    #[error("{service}: {message}")]
    Gate { service: String, message: String, log: String },
    #[error("something newer is to be reached")]
    Newer,
    #[error("{service} could not be brought up")]
    Engine {
        service: String,
        #[source]
        source: EngineError,
    },
    #[error("the folder {} of {service} cannot be given its content", folder.display())]
    Folder {
        service: String,
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    fn failed(service: &str) -> impl Fn(EngineError) -> RollError + use<'_, E, J> {
        move |source| RollError::Engine { service: service.to_owned(), source }
    }

    /// The instance is of this plan's making. What another step of the same run brought is not.
    fn brought(&self, instance: &Instance) -> bool {
        instance.run == self.run && self.plan.rolls.iter().any(|roll| roll.service == instance.service)
    }

    async fn note(&self, text: String) -> Result<(), JournalError> {
        self.journal.write(Entry::Note { text }).await
    }
}
