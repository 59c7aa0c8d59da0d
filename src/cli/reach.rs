//! Who does the work: the daemon when one runs, else this process with the same loop.

use std::convert::Infallible;

use super::client::Client;
use super::error::CliError;
use crate::app::control::{self, Accepted, Status};
use crate::app::{self, Preview, World};
use crate::config::Config;
use crate::orders::Order;
use crate::record::Record;

pub(super) enum Agent {
    Daemon(Client),
    Alone(Box<World>),
}

impl Agent {
    /// Reaches the daemon, or takes its place: then nobody else can work in the state folder until this process ends.
    pub(super) async fn reach(config: Config) -> Result<Self, CliError> {
        if let Some(daemon) = Client::find(&config).await? {
            return Ok(Self::Daemon(daemon));
        }
        Ok(Self::Alone(Box::new(app::alone(config).await?)))
    }

    pub(super) async fn status(&self) -> Result<Status, CliError> {
        match self {
            Self::Daemon(daemon) => daemon.status().await,
            Self::Alone(world) => Ok(control::status_of(&**world)),
        }
    }

    /// Gives an order.
    pub(super) async fn order(&self, order: &Order) -> Result<Accepted, CliError> {
        let world = match self {
            Self::Daemon(daemon) => return daemon.order(order).await,
            Self::Alone(world) => world,
        };
        if matches!(order, Order::Retry | Order::Deploy { allow_prune: true, .. }) {
            // Both are about the tip, which only a loop that has turned knows.
            let (tip, _) = world.fetch_tip().await?;
            world.situation.send_modify(|situation| situation.tip = Some(tip.to_string()));
        }
        Ok(control::obey(&**world, order).await?)
    }

    pub(super) async fn plan(&self) -> Result<Preview, CliError> {
        match self {
            Self::Daemon(daemon) => daemon.plan().await,
            Self::Alone(world) => Ok(world.preview().await?),
        }
    }

    pub(super) async fn config(&self) -> Result<serde_json::Value, CliError> {
        match self {
            Self::Daemon(daemon) => daemon.config().await,
            Self::Alone(world) => Ok(world.rendered_config().await?),
        }
    }

    /// Works until nothing is left to do, then waits for ever: without a daemon somebody must turn the loop.
    pub(super) async fn drive(&self) -> Infallible {
        if let Self::Alone(world) = self {
            while world.wakes.pending().is_some() {
                let reason = world.next_wake().await;
                world.turn(&reason).await;
            }
        }
        std::future::pending().await
    }

    /// What becomes of the work when whoever waits for it goes away.
    pub(super) fn left(&self) -> &'static str {
        match self {
            Self::Daemon(_) => "the daemon goes on with it: agent status",
            Self::Alone(_) => {
                "it was cut off; the agent's next start, or the next order, brings it to its end"
            }
        }
    }

    /// The record, for reading.
    pub(super) fn record(&self, config: &Config) -> Result<Record, CliError> {
        match self {
            Self::Daemon(_) => Ok(app::lookup(config)?),
            Self::Alone(world) => Ok(world.record.clone()),
        }
    }
}
