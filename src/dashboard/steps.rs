//! Plans, logs and moments as pages show them. Pure.

use serde::Serialize;

use crate::model::run::{Entry, Failure, Outcome};
use crate::overview::time::Clock;
use crate::overview::{brief, plain_log};
use crate::plan::diff::Plan;
use crate::reconcile::said;
use crate::record::{Logged, Run};

/// The colour beside a word; never instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Tone {
    Good,
    Busy,
    Doubtful,
    Bad,
    Plain,
}

/// A moment for people and for programs.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Moment {
    /// RFC 3339.
    exact: String,
    at: String,
    ago: String,
    second: String,
}

impl Moment {
    /// `millis` since the Unix epoch.
    pub(super) fn new(clock: &Clock, millis: i64) -> Self {
        let exact = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
        Self {
            exact: exact.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            at: clock.at(millis),
            ago: clock.ago(millis),
            second: clock.second(millis),
        }
    }
}

/// A step of a plan: what, to whom, why.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    what: &'static str,
    name: String,
    why: String,
}

pub(super) fn steps(plan: &Plan) -> Vec<Step> {
    let builds = plan.builds.iter().map(|build| Step {
        what: "build",
        name: build.services.join(", "),
        why: format!("its inputs were never built here; as {}", build.tag),
    });
    let rolls = plan.rolls.iter().map(|roll| Step {
        what: "roll",
        name: roll.service.clone(),
        why: format!("{}; {}: {}", roll.reason, roll.order, roll.order_reason),
    });
    let removals = plan.removals.iter().map(|removal| Step {
        what: "remove",
        name: removal.service.clone(),
        why: removal.reason.clone(),
    });
    let kept = (!plan.unchanged.is_empty()).then(|| Step {
        what: "keep",
        name: plan.unchanged.join(", "),
        why: "nothing of theirs changed".to_owned(),
    });
    builds.chain(rolls).chain(removals).chain(kept).collect()
}

/// What a run was to change, in a line.
pub(super) fn changed(plan: &Plan) -> String {
    let rolled: Vec<&str> = plan.rolls.iter().map(|roll| roll.service.as_str()).collect();
    let removed: Vec<&str> = plan.removals.iter().map(|removal| removal.service.as_str()).collect();
    let mut parts = Vec::new();
    match plan.builds.len() {
        0 => {}
        1 => parts.push("1 image".to_owned()),
        many => parts.push(format!("{many} images")),
    }
    if !rolled.is_empty() {
        parts.push(rolled.join(", "));
    }
    if !removed.is_empty() {
        parts.push(format!("without {}", removed.join(", ")));
    }
    if parts.is_empty() { "no container".to_owned() } else { parts.join("; ") }
}

/// A line of a run's log.
#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    at: Moment,
    text: String,
    tone: Tone,
}

pub(super) fn log(log: &[Logged], clock: &Clock) -> Vec<LogLine> {
    let line = |Logged { at, entry }: &Logged| LogLine {
        at: Moment::new(clock, *at),
        text: said(entry),
        tone: match entry {
            Entry::Switched | Entry::Ended { outcome: Outcome::Succeeded } => Tone::Good,
            Entry::Reverting { .. } | Entry::Ended { outcome: Outcome::Failed { .. } } => Tone::Bad,
            Entry::Passed { warning: Some(_), .. } => Tone::Doubtful,
            _ => Tone::Plain,
        },
    };
    log.iter().map(line).collect()
}

pub(super) fn tone(run: &Run) -> Tone {
    match &run.outcome {
        None => Tone::Busy,
        Some(Outcome::Succeeded) => Tone::Good,
        Some(Outcome::Failed { .. }) => Tone::Bad,
        Some(Outcome::Interrupted | Outcome::Superseded { .. }) => Tone::Doubtful,
        Some(Outcome::Unchanged) => Tone::Plain,
    }
}

/// Why something failed, and what to do about it.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    said: String,
    hint: Option<String>,
    log: String,
}

impl From<&Failure> for Fault {
    fn from(failure: &Failure) -> Self {
        Self { said: brief(failure), hint: failure.hint.clone(), log: plain_log(failure) }
    }
}
