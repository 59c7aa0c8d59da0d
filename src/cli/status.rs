//! `agent status`: what runs, what is wrong, what waits. The record says most of it, the daemon what it is doing,
//! the engine what really runs; whichever does not answer is said to be missing, and the rest is told.

mod text;

pub(super) use text::text;

use super::client::Client;
use super::error::{CliError, Code};
use super::out::Out;
use super::time::Clock;
use super::width;
use crate::app;
use crate::app::control::Status;
use crate::config::Config;
use crate::model::instance::Observed;
use crate::overview::{self, Events, Report};
use crate::report;
use crate::store;

pub(super) async fn status(config: &Config, out: &Out) -> Result<Code, CliError> {
    let clock = Clock::local();
    let daemon = match Client::find(config).await? {
        Some(client) => Some(client.status().await.map_err(|error| report::line(&error))),
        None => None,
    };
    let observed = app::observe(config).await.map_err(|error| report::line(&error));
    let report = gather(config, daemon, observed, clock.now).await?;
    out.answer(&report, |report| text(report, &clock, width::columns().min(80)))?;
    Ok(Code::Good)
}

/// What is known, whether or not anything has happened yet.
pub(super) async fn gather(
    config: &Config,
    daemon: Option<Result<Status, String>>,
    observed: Result<Observed, String>,
    now: i64,
) -> Result<Report, CliError> {
    let record = match app::lookup(config) {
        Ok(record) => Some(record),
        // Nothing has happened yet, which is no error of who asks.
        Err(store::Error::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let mut report = overview::gather(&config.stack.name, record.as_ref(), daemon, observed, now).await?;
    report.events = events(config).await?;
    Ok(report)
}

/// What is left to do of Stripe's events; nothing of them where none can come in.
async fn events(config: &Config) -> Result<Option<Events>, CliError> {
    let reader = match app::events(config) {
        Ok(reader) if config.stripe.open().next().is_some() => reader,
        Ok(_) | Err(store::Error::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut events = Events::default();
    for left in reader.backlog().await? {
        events.pending += u64::from(left.pending);
        events.dead += u64::from(left.dead);
        events.oldest = [events.oldest, left.oldest].into_iter().flatten().min();
    }
    Ok(Some(events))
}
