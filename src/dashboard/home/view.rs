//! What is known, in the words of the first page. Pure.

use serde::Serialize;

use super::Known;
use super::head::{Head, Held, Waiting, head, held, waiting, watched};
use crate::dashboard::steps::{Fault, LogLine, Moment, Step, Tone, changed, log, steps, tone};
use crate::dashboard::stripe::Overview;
use crate::model::run::ReleaseId;
use crate::overview::time::{Clock, took};
use crate::overview::{Level, Live, ServiceState, Wrong, ended, outcome, short};
use crate::record::{Denial, Release, Run, Why};

#[derive(Debug, Serialize)]
pub(in crate::dashboard) struct View {
    /// What the last order said.
    said: Option<String>,
    head: Head,
    live: Option<Shown>,
    wrong: Option<Trouble>,
    held: Option<Held>,
    waiting: Option<Waiting>,
    watched: Option<String>,
    before: Option<ReleaseId>,
    doing: Option<Work>,
    services: Vec<Service>,
    engine_error: Option<String>,
    drift: Vec<String>,
    stripe: Option<Overview>,
    releases: Vec<Kept>,
    denied: Vec<Denied>,
    runs: Vec<Told>,
    looked: Option<Moment>,
    tip: Option<String>,
    agent: String,
    now: Moment,
}

/// A release or a revision with what a person knows it by.
#[derive(Debug, Serialize)]
struct Shown {
    release: ReleaseId,
    revision: String,
    subject: String,
    since: Moment,
}

#[derive(Debug, Serialize)]
struct Trouble {
    title: String,
    subject: Option<String>,
    run: Option<i64>,
    fault: Fault,
    since: Moment,
    again: Option<String>,
    /// It is tried again only when a person says so.
    waits_for_a_person: bool,
}

/// The run in progress, or the turn before it has one.
#[derive(Debug, Serialize)]
struct Work {
    run: Option<i64>,
    title: String,
    subject: String,
    status: String,
    steps: Vec<Step>,
    log: Vec<LogLine>,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    container: Option<String>,
    state: String,
    tone: Tone,
    release: Option<ReleaseId>,
    revision: Option<String>,
    routes: Vec<String>,
    since: Option<Moment>,
}

#[derive(Debug, Serialize)]
struct Kept {
    id: ReleaseId,
    revision: String,
    subject: String,
    made: Moment,
    current: bool,
}

#[derive(Debug, Serialize)]
struct Denied {
    revision: String,
    why: String,
    run: i64,
    at: Moment,
}

#[derive(Debug, Serialize)]
struct Told {
    id: i64,
    kind: String,
    revision: String,
    subject: String,
    began: Moment,
    outcome: String,
    tone: Tone,
    took: Option<String>,
    changed: Option<String>,
    why: Option<String>,
}

pub(in crate::dashboard) fn view(mut known: Known, said: Option<String>, clock: &Clock) -> View {
    let stripe = known.stripe.take();
    let Known { report, releases, .. } = &known;
    let current = report.live.as_ref().map(|live| live.release);
    View {
        said,
        head: head(report, stripe.as_ref().map_or(0, Overview::dead)),
        live: report.live.as_ref().map(|live| shown(live, clock)),
        wrong: report.wrong.as_ref().map(|wrong| trouble(wrong, clock)),
        held: held(report, clock),
        waiting: waiting(report, clock),
        watched: watched(report, clock),
        before: known.before,
        doing: work(&known, clock),
        services: report.services.iter().map(|state| service(state, releases, clock)).collect(),
        engine_error: report.engine_error.clone(),
        drift: report.drift.clone(),
        stripe,
        releases: releases.iter().map(|release| kept(release, current, clock)).collect(),
        denied: known.denials.iter().map(|denial| denied(denial, clock)).collect(),
        runs: known
            .runs
            .iter()
            .map(|(run, plan)| told(run, plan.as_ref().map(changed), releases, clock))
            .collect(),
        looked: report.looked_at.map(|at| Moment::new(clock, at)),
        tip: report.tip.as_deref().map(|tip| short(tip).to_owned()),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        now: Moment::new(clock, clock.now),
    }
}

fn shown(live: &Live, clock: &Clock) -> Shown {
    Shown {
        release: live.release,
        revision: short(&live.revision).to_owned(),
        subject: live.subject.clone(),
        since: Moment::new(clock, live.since),
    }
}

fn trouble(wrong: &Wrong, clock: &Clock) -> Trouble {
    let title = match &wrong.revision {
        Some(revision) if wrong.went_bad => format!("{} went bad", short(revision)),
        Some(revision) => format!("{} did not go live", short(revision)),
        None => "Something is wrong".to_owned(),
    };
    Trouble {
        title,
        subject: wrong.subject.clone(),
        run: wrong.run.map(|run| run.0),
        fault: Fault::from(&wrong.failure),
        since: Moment::new(clock, wrong.since),
        again: wrong.again_at.map(|at| clock.ago(at.max(clock.now))),
        waits_for_a_person: wrong.again_at.is_none(),
    }
}

fn work(known: &Known, clock: &Clock) -> Option<Work> {
    if let Some(run) = &known.report.doing {
        let plan =
            known.runs.iter().find(|(known, _)| known.id == run.id).and_then(|(_, plan)| plan.as_ref());
        return Some(Work {
            run: Some(run.id.0),
            title: format!("{} {}", run.kind, short(&run.revision)),
            subject: run.subject.clone(),
            status: run.status.to_string(),
            steps: plan.map(steps).unwrap_or_default(),
            log: log(&known.log, clock),
        });
    }
    // A look at the branch by the timer is over in a moment, and nothing to be told of.
    let turn = known.report.turn.as_ref().filter(|turn| clock.now - turn.since > 2_000)?;
    Some(Work {
        run: None,
        title: "Looking".to_owned(),
        subject: String::new(),
        status: format!("since {}: {}", clock.second(turn.since), turn.why),
        steps: Vec::new(),
        log: Vec::new(),
    })
}

fn service(state: &ServiceState, releases: &[Release], clock: &Clock) -> Service {
    // The release that brought it; later ones left it as it was.
    let brought = |release: &&Release| state.revision.as_deref() == Some(release.revision.as_str());
    Service {
        name: state.service.clone(),
        container: state.instance.clone(),
        state: state.state.clone(),
        tone: match state.level {
            Level::Good => Tone::Good,
            Level::Idle => Tone::Doubtful,
            Level::Bad => Tone::Bad,
        },
        release: releases.iter().rev().find(brought).map(|release| release.id),
        revision: state.revision.as_deref().map(|revision| short(revision).to_owned()),
        routes: state.routes.clone(),
        since: state.since.map(|since| Moment::new(clock, since)),
    }
}

fn kept(release: &Release, current: Option<ReleaseId>, clock: &Clock) -> Kept {
    Kept {
        id: release.id,
        revision: release.revision.short().to_owned(),
        subject: release.subject.clone(),
        made: Moment::new(clock, release.created_at),
        current: current == Some(release.id),
    }
}

fn denied(denial: &Denial, clock: &Clock) -> Denied {
    let why = match &denial.why {
        Why::Stalled { failure } => format!("it failed: {}", crate::overview::brief(failure)),
        Why::WentBad { failure } => format!("it {}", crate::overview::brief(failure)),
        Why::RolledBack => "it was rolled back".to_owned(),
    };
    Denied {
        revision: denial.revision.short().to_owned(),
        why,
        run: denial.run.0,
        at: Moment::new(clock, denial.at),
    }
}

fn told(run: &Run, changed: Option<String>, releases: &[Release], clock: &Clock) -> Told {
    Told {
        id: run.id.0,
        kind: run.kind.to_string(),
        revision: short(&run.revision).to_owned(),
        subject: run.subject.clone(),
        began: Moment::new(clock, run.started_at),
        outcome: outcome(run, releases),
        tone: tone(run),
        took: run.ended_at.map(|end| took(end - run.started_at)),
        changed,
        why: ended(run),
    }
}
