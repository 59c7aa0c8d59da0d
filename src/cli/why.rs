//! `agent why`: all that is known of one service, from its release to its last failure. Reads only, and works with
//! the daemon or the engine down.

use owo_colors::OwoColorize;
use serde::Serialize;

use super::args;
use super::client::Client;
use super::error::{CliError, Code};
use super::out::Out;
use super::status;
use crate::app;
use crate::config::Config;
use crate::model::desired::{Desired, Gate, ProbeKind, Service};
use crate::model::run::{Failure, Kind, Outcome, RunId};
use crate::overview::time::Clock;
use crate::overview::{self, Level, Live, Report, ServiceState, brief, plain_log, short};
use crate::record::{Record, Run};
use crate::report;

/// How far back its last roll is looked for.
const RECENT: usize = 50;
const LOG_LINES: usize = 8;

/// The shape of `agent why --json`. Times are milliseconds since the Unix epoch.
#[derive(Debug, Serialize)]
pub(super) struct Why {
    service: String,
    release: Option<Live>,
    containers: Vec<ServiceState>,
    order: Option<String>,
    order_reason: Option<String>,
    /// What a new container of it must show.
    gate: Option<String>,
    rolled: Option<Rolled>,
    failed: Option<Failed>,
    engine_error: Option<String>,
}

/// The run that replaced its containers last.
#[derive(Debug, Serialize)]
struct Rolled {
    run: RunId,
    kind: Kind,
    revision: String,
    at: i64,
    /// What differed.
    reason: String,
    /// Who woke the agent.
    woken_by: String,
}

#[derive(Debug, Serialize)]
struct Failed {
    run: Option<RunId>,
    revision: Option<String>,
    at: i64,
    failure: Failure,
}

pub(super) async fn why(config: &Config, asked: &args::Why, out: &Out) -> Result<Code, CliError> {
    let clock = Clock::local();
    let daemon = match Client::find(config).await? {
        Some(client) => Some(client.status().await.map_err(|error| report::line(&error))),
        None => None,
    };
    let observed = app::observe(config).await.map_err(|error| report::line(&error));
    let known = status::gather(config, daemon, observed, clock.now).await?;
    let why = gather(&app::lookup(config)?, known, &asked.service).await?;
    out.answer(&why, |why| text(why, &clock))?;
    Ok(Code::Good)
}

pub(super) async fn gather(record: &Record, known: Report, name: &str) -> Result<Why, CliError> {
    let current = record.current().await?;
    let desired = current.as_ref().map(|release| &release.desired);
    let service = desired.and_then(|desired| desired.services.get(name));
    let (containers, others): (Vec<ServiceState>, Vec<ServiceState>) =
        known.services.into_iter().partition(|state| state.service == name);
    if service.is_none() && containers.is_empty() {
        return Err(unknown(name, desired, &others));
    }
    let runs = record.runs(RECENT).await?;
    let wrong = known.wrong.filter(|wrong| wrong.failure.service.as_deref() == Some(name));
    let now = wrong.map(|wrong| Failed {
        run: wrong.run,
        revision: wrong.revision,
        at: wrong.since,
        failure: wrong.failure,
    });
    Ok(Why {
        service: name.to_owned(),
        release: known.live,
        containers,
        order: service.map(|service| service.order.to_string()),
        order_reason: service.map(|service| service.order_reason.clone()),
        gate: service.map(gate),
        rolled: rolled(record, &runs, name).await?,
        failed: now.or_else(|| runs.iter().find_map(|run| failed(run, name))),
        engine_error: known.engine_error,
    })
}

fn unknown(name: &str, desired: Option<&Desired>, others: &[ServiceState]) -> CliError {
    let wanted = desired.into_iter().flat_map(|desired| desired.services.keys().cloned());
    let mut names: Vec<String> = wanted.chain(others.iter().map(|state| state.service.clone())).collect();
    names.sort();
    names.dedup();
    let hint = match names.is_empty() {
        true => "nothing is live yet".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    CliError::Usage { message: format!("there is no service {name}"), hint: Some(hint) }
}

async fn rolled(record: &Record, runs: &[Run], name: &str) -> Result<Option<Rolled>, CliError> {
    for run in runs {
        let live = match &run.outcome {
            None => overview::switched_at(&record.log(run.id, 0).await?, Some(name)).is_some(),
            Some(outcome) => *outcome == Outcome::Succeeded,
        };
        if !live {
            continue;
        }
        let Some(plan) = record.plan_of(run.id).await? else { continue };
        let Some(roll) = plan.rolls.into_iter().find(|roll| roll.service == name) else { continue };
        return Ok(Some(Rolled {
            run: run.id,
            kind: run.kind,
            revision: run.revision.clone(),
            at: run.started_at,
            reason: roll.reason,
            woken_by: run.reason.clone(),
        }));
    }
    Ok(None)
}

fn failed(run: &Run, name: &str) -> Option<Failed> {
    let Some(Outcome::Failed { reason }) = &run.outcome else { return None };
    (reason.service.as_deref() == Some(name)).then(|| Failed {
        run: Some(run.id),
        revision: Some(run.revision.clone()),
        at: run.ended_at.unwrap_or(run.started_at),
        failure: reason.clone(),
    })
}

fn gate(service: &Service) -> String {
    let Gate { health, probe, settle, timeout } = &service.gate;
    if service.one_shot {
        return format!("ends with 0 within {} s", timeout.as_secs());
    }
    let asked = probe.as_ref().map(|probe| match &probe.kind {
        ProbeKind::Tcp => format!("port {} accepts a connection", probe.port),
        ProbeKind::Http { path, host } => format!("{} answers 200 to 399", question(path, host, probe.port)),
        ProbeKind::Route { path, host } => format!("{} answers below 500", question(path, host, probe.port)),
    });
    let healthy = health.then(|| "its health check passes".to_owned());
    let parts: Vec<String> = healthy.into_iter().chain(asked).collect();
    match parts.is_empty() {
        true => format!("runs for {} s", settle.as_secs_f64()),
        false => format!("{}, within {} s", parts.join(" and "), timeout.as_secs()),
    }
}

fn question(path: &str, host: &Option<String>, port: u16) -> String {
    let host = host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
    format!("GET {path}{host} on port {port}")
}

pub(super) fn text(why: &Why, clock: &Clock) -> String {
    let mut lines: Vec<String> = why.containers.iter().map(|state| container(why, state, clock)).collect();
    if lines.is_empty() {
        lines.push(format!("{}  {}", why.service.bold(), "no container".yellow()));
    }
    let mut fact = |name: &str, text: String| lines.push(format!("  {name:<8} {text}"));
    if let Some(Live { release, revision, subject, since }) = &why.release {
        let when = format!("since {} ({})", clock.at(*since), clock.ago(*since));
        fact("release", format!("{release}, {} {subject:?}, {when}", short(revision)));
    }
    if let Some(Rolled { run, kind, revision, at, reason, woken_by }) = &why.rolled {
        fact("rolled", format!("{} by run {run}, {kind} {}: {reason}", clock.at(*at), short(revision)));
        fact("", format!("begun by {woken_by}"));
    }
    if let (Some(order), Some(reason)) = (&why.order, &why.order_reason) {
        fact("order", format!("{order}: {reason}"));
    }
    if let Some(gate) = &why.gate {
        fact("gate", gate.clone());
    }
    let routes = why.containers.first().map(|state| state.routes.join(", ")).unwrap_or_default();
    fact("route", if routes.is_empty() { "none".to_owned() } else { routes });
    if let Some(Failed { run, revision, at, failure }) = &why.failed {
        let revision =
            revision.as_deref().map(|revision| format!("{}: ", short(revision))).unwrap_or_default();
        let show = run.map(|run| format!(" (agent show {run})")).unwrap_or_default();
        fact("failed", format!("{} {revision}{}{show}", clock.at(*at), brief(failure)));
        let log = plain_log(failure);
        let last: Vec<&str> = log.lines().collect();
        lines.extend(last[last.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("    {line}")));
    }
    lines.extend(why.engine_error.iter().map(|error| format!("{} {error}", "engine:".red())));
    lines.join("\n")
}

fn container(why: &Why, state: &ServiceState, clock: &Clock) -> String {
    let word = match state.level {
        Level::Good => state.state.green().to_string(),
        Level::Idle => state.state.yellow().to_string(),
        Level::Bad => state.state.red().to_string(),
    };
    let mut line = format!("{}  {word}", why.service.bold());
    if let Some(instance) = &state.instance {
        line.push_str(&format!("  {instance}"));
    }
    if let Some(since) = state.since {
        line.push_str(&format!("  since {} ({})", clock.at(since), clock.ago(since)));
    }
    line
}
