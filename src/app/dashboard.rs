//! The dashboard's way to the agent that runs, and its listener.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::{AppError, control};
use crate::dashboard::{self, Agent};
use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::model::instance::Observed;
use crate::model::run::RunId;
use crate::orders::{Order, OrderError};
use crate::overview::Status;
use crate::reconcile::{Reconciler, Situation};
use crate::record::Record;
use crate::report;

/// What there is to be shown.
struct Desk<E> {
    world: Arc<Reconciler<E>>,
    inbox: Option<Inbox>,
}

impl<E: Engine> Agent for Desk<E> {
    fn record(&self) -> &Record {
        &self.world.record
    }

    fn status(&self) -> Status {
        control::status_of(&self.world)
    }

    fn situation(&self) -> watch::Receiver<Situation> {
        self.world.situation.subscribe()
    }

    async fn observe(&self) -> Result<Observed, String> {
        let observed = self.world.engine.observe(&self.world.config.stack.name).await;
        observed.map_err(|error| report::line(&error))
    }

    async fn obey(&self, order: Order) -> Result<String, OrderError> {
        Ok(control::obey(&self.world, &order).await?.said)
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
    }

    fn logs_of(&self, run: RunId) -> PathBuf {
        self.world.logs_of(run)
    }
}

/// The dashboard, if one is configured, on its port.
pub(super) async fn listen<E: Engine>(
    world: &Arc<Reconciler<E>>,
    inbox: Option<Inbox>,
    stop: &CancellationToken,
    kept: &mut Kept,
) -> Result<Option<(TcpListener, Router)>, AppError> {
    let config = &world.config;
    let (Some(at), Some(token)) = (config.dashboard.listen, &config.dashboard.token_file) else {
        return Ok(None);
    };
    let desk = Desk { world: world.clone(), inbox };
    let router = dashboard::router(Arc::new(desk), &config.stack.name, token.clone(), stop.clone())?;
    let listener = kept.tcp("dashboard", at).await;
    let listener = listener.map_err(|source| AppError::Listen { at: at.to_string(), source })?;
    tracing::info!("dashboard on http://{at}");
    Ok(Some((listener, router)))
}
