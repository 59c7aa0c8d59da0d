//! `agent status`: what runs, what is wrong, what waits. The record says most of it, the daemon what it is doing,
//! the engine what really runs; whichever does not answer is said to be missing, and the rest is told.

mod gather;
mod services;
mod text;

pub(super) use gather::gather;
pub(super) use services::address;
pub(super) use text::text;

use super::client::Client;
use super::error::{CliError, Code};
use super::out::Out;
use super::time::Clock;
use super::width;
use crate::app;
use crate::config::Config;
use crate::report;

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
