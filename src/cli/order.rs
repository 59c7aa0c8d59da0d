//! Commands that tell the agent what to reach, and wait until it is.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args;
use super::client::Client;
use super::error::{CliError, Code};
use super::follow::follow;
use super::out::Out;
use super::reach::Agent;
use super::verdict::{self, Known};
use crate::config::Config;
use crate::model::run::{ReleaseId, RunId};
use crate::orders::Order;
use crate::record::Record;

pub(super) async fn deploy(config: Config, asked: &args::Deploy, out: &Out) -> Result<Code, CliError> {
    let args::Deploy { allow_prune, despite_freeze, wait } = *asked;
    give(config, &Order::Deploy { allow_prune, despite_freeze }, wait, out).await
}

pub(super) async fn rollback(config: Config, asked: &args::Rollback, out: &Out) -> Result<Code, CliError> {
    let order = Order::Rollback { release: asked.release.map(ReleaseId), hold: asked.hold };
    give(config, &order, asked.wait, out).await
}

/// The answer with `--no-wait`.
#[derive(Serialize)]
pub(super) struct Noted {
    pub(super) said: String,
    pub(super) daemon: bool,
}

/// The answer to `agent reload`.
#[derive(Serialize)]
pub(super) struct Reloaded {
    pub(super) said: String,
}

pub(super) async fn reload(config: &Config, out: &Out) -> Result<Code, CliError> {
    let Some(daemon) = Client::find(config).await? else {
        let hint = Some("it reads the configuration when it starts: systemctl start agent");
        let what = "no daemon runs that could take it up".to_owned();
        return Err(CliError::Unreachable { what, hint, source: None });
    };
    let said = daemon.reload().await?;
    out.answer(&Reloaded { said }, |reloaded| reloaded.said.clone())?;
    Ok(Code::Good)
}

/// There is nothing to wait for: from now on nothing begins.
pub(super) async fn pause(config: Config, asked: &args::Pause, out: &Out) -> Result<Code, CliError> {
    let millis = asked.long.map(|long| long.as_millis() as i64);
    give(config, &Order::Pause { millis }, args::Wait { no_wait: true }, out).await
}

/// Asks first: the site is gone until somebody brings it back.
pub(super) async fn down(config: Config, asked: &args::Down, out: &Out) -> Result<Code, CliError> {
    if !asked.yes && !confirmed(&config.stack.name, out)? {
        out.text("nothing was changed")?;
        return Ok(Code::Good);
    }
    give(config, &Order::Down, asked.wait, out).await
}

fn confirmed(stack: &str, out: &Out) -> Result<bool, CliError> {
    if out.json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = format!("this takes {stack} down, and nobody is there to ask");
        return Err(CliError::Usage { message, hint: Some("if that is meant: agent down --yes".into()) });
    }
    write!(io::stderr(), "Take {stack} down? Its containers go, its volumes stay. [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(super) async fn give(
    config: Config,
    order: &Order,
    wait: args::Wait,
    out: &Out,
) -> Result<Code, CliError> {
    let agent = Agent::reach(config.clone()).await?;
    let record = agent.record(&config)?;
    let after = before_now(&record).await?;
    let mending = *order == Order::Retry && record.degraded().await?.is_some();
    let accepted = agent.order(order).await?;
    if wait.no_wait {
        let daemon = matches!(agent, Agent::Daemon(_));
        let said = match daemon {
            true => accepted.said,
            false => format!("{}, when the daemon starts (none runs)", accepted.said),
        };
        out.answer(&Noted { said, daemon }, |noted| noted.said.clone())?;
        return Ok(Code::Good);
    }
    out.text(&accepted.said)?;
    let rest = follow(&agent, &record, &accepted, after, out).await?;
    let denial = match rest.tip.as_deref().and_then(|tip| tip.parse().ok()) {
        Some(tip) => record.denial(&tip).await?,
        None => None,
    };
    let (target, current) = (record.target().await?, record.current().await?);
    let known = Known { target, current, denial, mending };
    let verdict = verdict::verdict(rest, known);
    out.answer(&verdict, verdict::text)?;
    Ok(verdict.code)
}

/// The newest run that is over: one in progress is part of what is waited for.
async fn before_now(record: &Record) -> Result<RunId, CliError> {
    let runs = record.runs(2).await?;
    Ok(runs.iter().find(|run| run.ended_at.is_some()).map_or(RunId(0), |run| run.id))
}
