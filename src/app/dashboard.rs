//! The dashboard's way to the agent that runs, and its listener.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::doors::{Doors, Places};
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

/// In nginx's folder; the name stands in nginx's configuration.
const SOCKET: &str = "dashboard.sock";

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

/// Opens the dashboard's doors, if any is configured.
pub(super) async fn listen<E: Engine>(
    world: &Arc<Reconciler<E>>,
    inbox: Option<Inbox>,
    stop: &CancellationToken,
    kept: &mut Kept,
) -> Result<Option<Doors>, AppError> {
    let config = &world.config;
    let (at, published) = (config.dashboard.listen, &config.dashboard.publish);
    let Some(token) = &config.dashboard.token_file else { return Ok(None) };
    if at.is_none() && published.is_none() {
        return Ok(None);
    }
    let desk = Desk { world: world.clone(), inbox };
    let router = dashboard::router(Arc::new(desk), &config.stack.name, token.clone(), stop.clone())?;
    let places =
        Places { what: "dashboard", behind_nginx: "dashboard-nginx", at, published: published.as_ref() };
    Ok(Some(Doors::open(&places, &config.nginx_folder(), SOCKET, router, kept).await?))
}
