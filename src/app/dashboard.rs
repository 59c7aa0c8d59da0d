//! The dashboard's way to the agent that runs, and its listener.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AppError, control};
use crate::dashboard::{self, Agent};
use crate::engine::Engine;
use crate::model::instance::Observed;
use crate::model::run::RunId;
use crate::orders::{Order, OrderError};
use crate::overview::Status;
use crate::reconcile::{Reconciler, Situation};
use crate::record::Record;
use crate::report;

impl<E: Engine> Agent for Reconciler<E> {
    fn record(&self) -> &Record {
        &self.record
    }

    fn status(&self) -> Status {
        control::status_of(self)
    }

    fn situation(&self) -> watch::Receiver<Situation> {
        self.situation.subscribe()
    }

    async fn observe(&self) -> Result<Observed, String> {
        let observed = self.engine.observe(&self.config.stack.name).await;
        observed.map_err(|error| report::line(&error))
    }

    async fn obey(&self, order: Order) -> Result<String, OrderError> {
        Ok(control::obey(self, &order).await?.said)
    }

    fn logs_of(&self, run: RunId) -> PathBuf {
        Reconciler::logs_of(self, run)
    }
}

/// The dashboard, if one is configured, on its port.
pub(super) async fn listen<E: Engine>(
    world: &Arc<Reconciler<E>>,
    stop: &CancellationToken,
) -> Result<Option<(TcpListener, Router)>, AppError> {
    let config = &world.config;
    let (Some(at), Some(token)) = (config.dashboard.listen, &config.dashboard.token_file) else {
        return Ok(None);
    };
    let router = dashboard::router(world.clone(), &config.stack.name, token.clone(), stop.clone())?;
    let listener = TcpListener::bind(at).await;
    let listener = listener.map_err(|source| AppError::Listen { at: at.to_string(), source })?;
    tracing::info!("dashboard on http://{at}");
    Ok(Some((listener, router)))
}
