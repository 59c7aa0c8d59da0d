//! The composition root: opens what there is to open, mounts the routers, starts the tasks, ends them in order.

pub mod check;
pub mod control;
mod dashboard;
mod doors;
mod hooks;
mod kept;
pub mod logs;
mod metrics;
mod open;
mod outside;
mod preview;
mod reload;
mod stripe;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::EngineError;
use crate::engine::docker::Docker;
use crate::http::{ClientError, Limits, serve};
use crate::metrics::Answers;
use crate::reconcile::Reconciler;
use crate::report;
use crate::trigger::{self, Reason};

use reload::Reload;

pub use kept::Kept;
pub use open::{OpenError, Opened, events, lookup, migrations};
pub use preview::Preview;
pub use view::{ViewError, observe};

/// An engine that does not answer yet is asked again.
const ENGINE_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the agent cannot start")]
    Open(#[from] OpenError),
    #[error("cannot listen on {at}")]
    Listen {
        at: String,
        #[source]
        source: std::io::Error,
    },
    #[error("nobody can be told anything")]
    Client(#[from] ClientError),
    #[error("the webhooks cannot be set up")]
    Hook(#[from] open::HookError),
    #[error("the dashboard cannot be set up")]
    Dashboard(#[from] crate::dashboard::DashboardError),
    #[error("`schedule` under [poll] cannot be used")]
    Schedule(#[from] trigger::ScheduleError),
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    #[error("the program cannot be executed anew")]
    Again(#[source] std::io::Error),
}

/// The daemon: serves until told to stop by SIGTERM or SIGINT, and takes up a changed configuration, read from `path`,
/// at SIGHUP; `kept` is what the process before left for it. What a run has begun by then is recovered by the next start; the apps and nginx go on meanwhile.
pub async fn run(config: Config, path: &Path, kept: Kept) -> Result<(), AppError> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let reload = Reload::new(path, kept, stop.clone());
    work(config, &reload, &tasks, &stop).await?;
    tasks.close();
    tasks.wait().await;
    reload.end().await
}

async fn work(
    config: Config,
    reload: &Arc<Reload>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    // Not among the tasks that are waited for: both listen to the end, also through the end for a reload's sake.
    tokio::spawn(reload.at_hangup().map_err(AppError::Signals)?);
    tokio::spawn(until_signalled(reload.clone()));
    // After a reload systemd goes on watching while this starts.
    tasks.spawn(watchdog(stop.clone()));
    let opened = open::open(config).await?;
    let Some(mut kept) = reload.doors().await else { return Ok(()) };
    let control = listen_unix(&opened.config.state.join(control::SOCKET), &mut kept)?;
    let answers = Answers::default();
    let hooks = hooks::listen(&opened, &answers, &mut kept).await?;
    drop(kept);
    let orders = watch::Sender::new(None);
    let door = control::door(orders.subscribe()).merge(reload::router(reload.clone()));
    for listener in control {
        tasks.spawn(serve(listener, door.clone(), Limits::default(), stop.clone()));
    }
    // What is told and sent to the agent is kept also while the engine is away.
    if let Some(doors) = hooks {
        doors.serve(tasks, stop);
    }
    let wing = opened.stripe.clone();
    if let Some(wing) = &wing {
        wing.complain();
        tasks.spawn(wing.inbox.clone().deliver(stop.clone()));
    }
    let Some(engine) = engine(&opened.config, stop).await else { return Ok(()) };
    let Some(mut kept) = reload.doors().await else { return Ok(()) };
    let store = opened.store.clone();
    let world = Arc::new(opened.with(engine));
    let dead = watch::Sender::new(None);
    if let Some(outbox) = outside::outbox(&world, store, dead.subscribe())? {
        tasks.spawn(outbox.run(stop.clone()));
    }
    let mut obeyed = control::router(world.clone());
    let inbox = wing.as_ref().map(|wing| wing.inbox.clone());
    if let Some(wing) = wing {
        obeyed = obeyed.merge(wing.inbox.orders());
        tasks.spawn(wing.clone().count_dead(dead, stop.clone()));
        let keeper = world.clone();
        let keeping = stop.clone();
        tasks.spawn(async move { keeper.keep_whereabouts(keeping).await });
        tasks.spawn(wing.follow(world.whereabouts.subscribe(), world.wakes.clone(), stop.clone()));
    } else {
        obeyed = obeyed.merge(stripe::closed());
    }
    orders.send_replace(Some(obeyed));
    if let Some((listener, router)) = metrics::listen(&world, answers, inbox.clone(), &mut kept).await? {
        tasks.spawn(serve(listener, router, Limits::default(), stop.clone()));
    }
    if let Some(doors) = dashboard::listen(&world, inbox, stop, &mut kept).await? {
        doors.serve(tasks, stop);
    }
    kept.close_the_rest();
    drop(kept);
    if let Some(schedule) = open::schedule(&world.config)? {
        tasks.spawn(schedule.run(world.wakes.clone(), Utc::now, stop.clone()));
    }
    if let Err(error) = world.wakes.wake(Reason::Boot).await {
        tracing::error!("{}", report::line(&error));
    }
    let (watcher, watching) = (world.clone(), stop.clone());
    tasks.spawn(async move { watcher.watch_containers(watching).await });
    world.recall().await;
    let (watcher, watching) = (world.clone(), stop.clone());
    tasks.spawn(async move { watcher.watch_releases(watching).await });
    // Without a service manager there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(stack = world.config.stack.name, "ready");
    let turning = {
        let (world, stop) = (world.clone(), stop.clone());
        tokio::spawn(async move { world.run(stop).await })
    };
    stop.cancelled().await;
    if !reload.begun().await {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }
    tokio::select! {
        () = world.gap.over() => {}
        () = alive() => {}
    }
    // A turn in the middle is cut off here: what it did is in its log, and the next start goes on from there.
    turning.abort();
    Ok(())
}

async fn engine(config: &Config, stop: &CancellationToken) -> Option<Docker> {
    loop {
        match connect(config).await {
            Ok(engine) => return Some(engine),
            Err(error) => tracing::error!("{}", report::line(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(ENGINE_AGAIN) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// The configured engine.
pub async fn connect(config: &Config) -> Result<Docker, EngineError> {
    Docker::connect(config.engine.socket.as_deref()).await
}

/// The agent's hands, in the process of whoever works while no daemon does.
pub type World = Reconciler<Docker>;

/// A reconciler without tasks, for commands that work while no daemon does.
pub async fn alone(config: Config) -> Result<World, AloneError> {
    let opened = open::open(config).await?;
    let engine = connect(&opened.config).await?;
    Ok(opened.with(engine))
}

#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    #[error("the agent's state cannot be opened")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn listen_unix(path: &Path, kept: &mut Kept) -> Result<Vec<UnixListener>, AppError> {
    // The store's lock is ours, so whoever left the socket is gone.
    let listeners = doors::take_over(path, 0o600).and_then(|new| kept.unix("control", new));
    listeners.map_err(|source| AppError::Listen { at: path.display().to_string(), source })
}

async fn until_signalled(reload: Arc<Reload>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    reload.give_up().await;
}

async fn watchdog(stop: CancellationToken) {
    tokio::select! {
        () = alive() => {}
        () = stop.cancelled() => {}
    }
}

/// Tells systemd that the runtime still turns, twice as often as asked.
async fn alive() {
    let Some(within) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(within / 2).await;
    }
}
