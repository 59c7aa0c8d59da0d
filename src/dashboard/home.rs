//! The first page: all of it in the order in which a person asks. Is it well? What is wrong? What is being done?

mod head;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::guard::Signed;
use super::{Agent, Site, stripe};
use crate::model::run::ReleaseId;
use crate::orders;
use crate::overview::time::Clock;
use crate::overview::{self, Report};
use crate::plan::diff::Plan;
use crate::record::{Denial, Logged, RecordError, Release, Run};

pub(super) use view::view;

/// Runs in the history.
const RUNS: usize = 20;
/// Revisions that stay out; older ones can only matter to whoever knows them.
const DENIED: usize = 5;

/// All that the page is made from.
pub(super) struct Known {
    report: Report,
    /// Newest first, each with its plan once it has one.
    runs: Vec<(Run, Option<Plan>)>,
    /// Of the run in progress.
    log: Vec<Logged>,
    releases: Vec<Release>,
    /// To which a rollback without a number leads.
    before: Option<ReleaseId>,
    denials: Vec<Denial>,
    stripe: Option<stripe::Overview>,
}

pub(super) async fn page<A: Agent>(State(site): State<Arc<Site<A>>>, signed: Signed) -> Response {
    let clock = Clock::local();
    match known(&*site.agent, &site.stack, &clock).await {
        Ok(known) => {
            let said = site.sessions.take_said(&signed.id);
            let view = view(known, said, &clock);
            site.pages.signed(StatusCode::OK, "home.html", &signed, view)
        }
        Err(error) => site.unreadable(&signed, &error),
    }
}

pub(super) async fn known<A: Agent>(agent: &A, stack: &str, clock: &Clock) -> Result<Known, RecordError> {
    let record = agent.record();
    let observed = agent.observe().await;
    let report = overview::gather(stack, Some(record), Some(Ok(agent.status())), observed, clock.now).await?;
    let mut runs = Vec::new();
    for run in record.runs(RUNS).await? {
        let plan = record.plan_of(run.id).await?;
        runs.push((run, plan));
    }
    let log = match &report.doing {
        Some(run) => record.log(run.id, 0).await?,
        None => Vec::new(),
    };
    let before = match record.current().await? {
        Some(current) => orders::before(record, &current).await.ok().map(|release| release.id),
        None => None,
    };
    Ok(Known {
        report,
        runs,
        log,
        releases: record.releases().await?,
        before,
        stripe: stripe::known(agent.inbox(), clock).await?,
        denials: record.denials(DENIED).await?,
    })
}
