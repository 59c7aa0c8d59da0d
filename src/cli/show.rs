//! `agent show`: the story of one run, or what one release holds.

use comfy_table::Cell;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::args::{self, What};
use super::error::{CliError, Code, brief, plain_log};
use super::out::Out;
use super::plan::steps;
use super::time::{Clock, took};
use super::width::{columns, fitted, short};
use crate::app;
use crate::config::Config;
use crate::model::desired::Order;
use crate::model::run::{Entry, Outcome, ReleaseId};
use crate::overview::address;
use crate::plan::diff::Plan;
use crate::reconcile::said;
use crate::record::{Logged, Record, Release, Run};

pub(super) async fn show(config: &Config, asked: &args::Show, out: &Out) -> Result<Code, CliError> {
    let record = app::lookup(config)?;
    let clock = Clock::local();
    match asked.what {
        What::Run(id) => {
            let (run, log) = (record.run(id).await?, record.log(id, 0).await?);
            let story = Story { run, plan: record.plan_of(id).await?, log };
            out.answer(&story, |story| story_text(story, &clock))?;
        }
        What::Release(id) => {
            let content = content(&record, id).await?;
            out.answer(&content, |content| content_text(content, &clock, columns()))?;
        }
    }
    Ok(Code::Good)
}

#[derive(Serialize)]
pub(super) struct Story {
    pub(super) run: Run,
    pub(super) plan: Option<Plan>,
    pub(super) log: Vec<Logged>,
}

pub(super) fn story_text(story: &Story, clock: &Clock) -> String {
    let Run { id, kind, revision, subject, reason, started_at, ended_at, status, outcome, .. } = &story.run;
    let how = match (outcome, ended_at) {
        (Some(Outcome::Superseded { by }), Some(_)) => format!("superseded by {}", short(by)),
        (Some(outcome), Some(end)) => format!("{} after {}", outcome.word(), took(end - started_at)),
        _ => status.to_string(),
    };
    let (at, ago) = (clock.at(*started_at), clock.ago(*started_at));
    let mut lines = vec![
        format!("{} {kind} {} {subject:?}: {how}", format!("run {id}").bold(), short(revision)),
        format!("begun {at} ({ago}) because: {reason}").dimmed().to_string(),
    ];
    if let Some(plan) = &story.plan {
        lines.push(String::new());
        lines.extend(steps(plan));
    }
    lines.push(String::new());
    for Logged { at, entry } in &story.log {
        lines.push(format!("  {}  {}", clock.second(*at).dimmed(), entry_text(entry)));
    }
    if let Some(Outcome::Failed { reason }) = outcome {
        lines.push(String::new());
        lines.push(format!("{} {}", "failed:".red().bold(), brief(reason)));
        lines.extend(plain_log(reason).lines().map(|line| format!("    {line}")));
        lines.extend(reason.hint.iter().map(|hint| format!("{} {hint}", "hint:".bold())));
    }
    lines.join("\n")
}

fn entry_text(entry: &Entry) -> String {
    match entry {
        // The steps stand above.
        Entry::Planned { .. } => "planned".to_owned(),
        Entry::Switched => said(entry).green().to_string(),
        Entry::Reverting { .. } => said(entry).red().to_string(),
        _ => said(entry),
    }
}

/// A release without what it must not tell: environment and secrets.
#[derive(Serialize)]
pub(super) struct Content {
    pub(super) release: Release,
    /// It is what runs.
    pub(super) current: bool,
    pub(super) services: Vec<Service>,
}

#[derive(Serialize)]
pub(super) struct Service {
    name: String,
    image: String,
    image_id: String,
    order: Order,
    order_reason: String,
    routes: Vec<String>,
}

pub(super) async fn content(record: &Record, id: ReleaseId) -> Result<Content, CliError> {
    let release = record.release(id).await?;
    let current = record.current().await?.is_some_and(|current| current.id == id);
    let desired = &release.desired;
    let services = desired.services.iter().map(|(name, service)| Service {
        name: name.clone(),
        image: service.template.image.name.clone(),
        image_id: service.template.image.id.clone(),
        order: service.order,
        order_reason: service.order_reason.clone(),
        routes: desired.routes.iter().filter(|route| route.service == *name).map(address).collect(),
    });
    let services = services.collect();
    Ok(Content { release, current, services })
}

pub(super) fn content_text(content: &Content, clock: &Clock, columns: usize) -> String {
    let Release { id, run, revision, subject, created_at, .. } = &content.release;
    let runs = if content.current { " (runs now)" } else { "" };
    let (at, ago) = (clock.at(*created_at), clock.ago(*created_at));
    let row = |service: &Service| {
        vec![
            Cell::new(&service.name),
            Cell::new(&service.image),
            Cell::new(service.order),
            Cell::new(service.routes.join("\n")),
        ]
    };
    let rows: Vec<_> = content.services.iter().map(row).collect();
    [
        format!("{} {} {subject:?}{}", format!("release {id}").bold(), revision.short(), runs.green()),
        format!("made live {at} ({ago}) by run {run}").dimmed().to_string(),
        String::new(),
        fitted(columns, &["SERVICE", "IMAGE", "ORDER", "ROUTE"], &rows),
    ]
    .join("\n")
}
