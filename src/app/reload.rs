//! A changed configuration, taken up without a restart of the service: `agent reload`, or SIGHUP.
//!
//! It is read and checked as at a start while the one in force serves on; one that is wrong changes nothing. A good one
//! is taken up by the program in the place of this process: everything ends as at SIGTERM, and then the process executes
//! the program anew, which finds its listening sockets open ([`super::kept`]). So a reload is a restart, with what a
//! restart does to a run in the middle, and a run never sees two configurations.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::check::{NotWritable, writable};
use super::kept::{Heirs, Kept, Unavailable};
use super::{AppError, open, outside};
use crate::config::{Config, ConfigError};
use crate::dashboard;
use crate::model::run::Failure;
use crate::report;
use crate::source::timeouts::{self, LimitError};

/// The daemon's listening sockets, and what becomes of them.
pub(super) struct Reload {
    path: PathBuf,
    stop: CancellationToken,
    kept: Mutex<Kept>,
    heirs: Mutex<Option<Heirs>>,
}

/// Why a configuration is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] AppError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Folder(#[from] NotWritable),
    #[error(transparent)]
    HandOver(#[from] Unavailable),
    #[error("the agent is ending")]
    Ending,
}

impl ReloadError {
    /// A line for each thing that is wrong.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(ConfigError::Invalid { problems, .. }) => {
                problems.iter().map(ToString::to_string).collect()
            }
            _ => vec![report::line(self)],
        }
    }
}

const STAYS: &str = "the configuration in force stays";

impl Reload {
    /// What was handed over to this process is here from now on.
    pub(super) fn new(path: &Path, kept: Kept, stop: CancellationToken) -> Arc<Self> {
        let kept = Mutex::new(kept);
        Arc::new(Self { path: path.to_owned(), stop, kept, heirs: Mutex::default() })
    }

    /// The sockets, to listen by; `None` once the daemon is told to end. Nothing is reloaded while they are held.
    pub(super) async fn doors(&self) -> Option<MutexGuard<'_, Kept>> {
        let kept = self.kept.lock().await;
        (!self.stop.is_cancelled()).then_some(kept)
    }

    /// Reloads at each signal, which from here on ends nobody.
    pub(super) fn at_hangup(self: &Arc<Self>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Arc::clone(self).listen(hangup))
    }

    async fn listen(self: Arc<Self>, mut hangup: Signal) {
        while let Some(()) = hangup.recv().await {
            if let Err(error) = self.begin().await {
                error.lines().iter().for_each(|line| tracing::error!("{line}"));
                tracing::error!("not reloaded: {STAYS}");
            }
        }
    }

    /// Checks all that a start would refuse, and then lets the daemon end for the sake of the next, which is handed what
    /// was checked. Until that begins, whoever asks again has the file as it is then taken up in its place.
    async fn begin(&self) -> Result<(), ReloadError> {
        let text = Config::text(&self.path)?;
        let config = Config::of(&self.path, &text)?;
        let (mut kept, mut heirs) = (self.kept.lock().await, self.heirs.lock().await);
        if self.stop.is_cancelled() && heirs.is_none() {
            return Err(ReloadError::Ending);
        }
        startable(&config)?;
        let first = heirs.replace(kept.heirs(&config.listens(), &text)?).is_none();
        tracing::info!("reloading {}", self.path.display());
        if first {
            // Until READY=1 `systemctl reload` waits. Without a service manager there is nobody to notify.
            let mut told = vec![NotifyState::Reloading];
            told.extend(NotifyState::monotonic_usec_now());
            let _ = sd_notify::notify(&told);
        }
        self.stop.cancel();
        Ok(())
    }

    /// Ends the daemon for good, also when it was about to begin anew.
    pub(super) async fn give_up(&self) {
        self.stop.cancel();
        *self.heirs.lock().await = None;
    }

    pub(super) async fn begun(&self) -> bool {
        self.heirs.lock().await.is_some()
    }

    /// The end of the process: for good, or with the program executed anew in its place.
    pub(super) async fn end(&self) -> Result<(), AppError> {
        // Held to the end: who ends it for good meanwhile has come too late.
        let heirs = self.heirs.lock().await;
        let Some(heirs) = &*heirs else { return Ok(()) };
        Err(AppError::Again(execute(heirs)))
    }
}

/// Whether a start would get as far as asking the engine.
fn startable(config: &Config) -> Result<(), ReloadError> {
    open::remote(config).map_err(AppError::Open)?;
    open::hooks(config).map_err(AppError::Hook)?;
    open::schedule(config).map_err(AppError::Schedule)?;
    outside::clearance(config).map_err(AppError::Client)?;
    let shown = config.dashboard.listen.is_some() || config.dashboard.publish.is_some();
    if let Some(token) = config.dashboard.token_file.as_ref().filter(|_| shown) {
        dashboard::acceptable(token).map_err(AppError::Dashboard)?;
    }
    writable(&config.state)?;
    if config.dashboard.publish.is_some() || config.webhook.publish.is_some() && config.hears() {
        writable(&config.nginx_folder())?;
    }
    Ok(timeouts::readable(config.source.ca_file.as_deref())?)
}

/// Returns only if it could not be done.
fn execute(heirs: &Heirs) -> io::Error {
    let program = match std::env::current_exe() {
        // Replaced by an upgrade: the program that runs is still to be had, and is the one that checked.
        Ok(program) if !program.exists() => "/proc/self/exe".into(),
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    let mut arguments = std::env::args_os();
    command.arg0(arguments.next().unwrap_or_default()).args(arguments);
    match heirs.hand_to(&mut command) {
        Ok(()) => command.exec(),
        Err(error) => error,
    }
}

/// `POST /reload`, for who may give orders.
pub(super) fn router(reload: Arc<Reload>) -> Router {
    Router::new().route("/reload", post(ask)).with_state(reload)
}

async fn ask(State(reload): State<Arc<Reload>>) -> Response {
    match reload.begin().await {
        Ok(()) => Json("taking up the configuration").into_response(),
        Err(error) => {
            let message = error.lines().join("\n");
            let failure = Failure { message, hint: Some(STAYS.to_owned()), ..Failure::default() };
            (StatusCode::UNPROCESSABLE_ENTITY, Json(failure)).into_response()
        }
    }
}
