//! The story of one run: what it was to do, what it did, and what its builds wrote.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Path as Address, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::guard::Signed;
use super::steps::{Fault, LogLine, Moment, Step, Tone, log, steps, tone};
use super::{Agent, Site};
use crate::model::run::{Outcome, RunId};
use crate::overview::time::{Clock, took};
use crate::overview::{outcome, short};
use crate::plan::diff::Plan;
use crate::record::{Logged, Record, RecordError, Release, Run};

/// The end of each build's log; all of it is in the state folder.
const LOG_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
struct View {
    id: i64,
    kind: String,
    revision: String,
    subject: String,
    reason: String,
    began: Moment,
    took: Option<String>,
    outcome: String,
    tone: Tone,
    /// What it is doing, while it is.
    status: Option<String>,
    steps: Vec<Step>,
    log: Vec<LogLine>,
    fault: Option<Fault>,
    builds: Vec<BuildLog>,
    now: Moment,
}

#[derive(Serialize)]
struct BuildLog {
    name: String,
    text: String,
    /// Only its end is here.
    cut: bool,
}

pub(super) async fn page<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Address(id): Address<i64>,
    signed: Signed,
) -> Response {
    let id = RunId(id);
    match story(site.agent.record(), id).await {
        Ok((run, plan, log, releases)) => {
            let folder = site.agent.logs_of(id);
            let builds = tokio::task::spawn_blocking(move || builds(&folder)).await.unwrap_or_default();
            let view = view(&run, plan.as_ref(), &log, &releases, builds);
            site.pages.signed(StatusCode::OK, "run.html", &signed, view)
        }
        Err(error) => site.unreadable(&signed, &error),
    }
}

type Story = (Run, Option<Plan>, Vec<Logged>, Vec<Release>);

async fn story(record: &Record, id: RunId) -> Result<Story, RecordError> {
    Ok((record.run(id).await?, record.plan_of(id).await?, record.log(id, 0).await?, record.releases().await?))
}

fn view(
    run: &Run,
    plan: Option<&Plan>,
    entries: &[Logged],
    releases: &[Release],
    builds: Vec<BuildLog>,
) -> View {
    let clock = Clock::local();
    let fault = match &run.outcome {
        Some(Outcome::Failed { reason }) => Some(Fault::from(reason)),
        _ => None,
    };
    View {
        id: run.id.0,
        kind: run.kind.to_string(),
        revision: short(&run.revision).to_owned(),
        subject: run.subject.clone(),
        reason: run.reason.clone(),
        began: Moment::new(&clock, run.started_at),
        took: run.ended_at.map(|end| took(end - run.started_at)),
        outcome: outcome(run, releases),
        tone: tone(run),
        status: run.outcome.is_none().then(|| run.status.to_string()),
        steps: plan.map(steps).unwrap_or_default(),
        log: log(entries, &clock),
        fault,
        builds,
        now: Moment::new(&clock, clock.now),
    }
}

/// The ends of the logs in a run's folder, by name; none when it built nothing or they are past their time.
fn builds(folder: &Path) -> Vec<BuildLog> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut logs: Vec<BuildLog> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let bytes = fs::read(&path).ok()?;
            let end = &bytes[bytes.len().saturating_sub(LOG_BYTES)..];
            let text = anstream::adapter::strip_str(&String::from_utf8_lossy(end)).to_string();
            let name = path.file_stem()?.to_string_lossy().into_owned();
            Some(BuildLog { name, text, cut: bytes.len() > LOG_BYTES })
        })
        .collect();
    logs.sort_by(|a, b| a.name.cmp(&b.name));
    logs
}
