//! What is known, from those who know it, as one value: the shape of `agent status --json`.

use serde::Serialize;

use super::services::{ServiceState, services};
use crate::app;
use crate::app::control::Status;
use crate::cli::error::CliError;
use crate::config::Config;
use crate::model::class::Class;
use crate::model::instance::Observed;
use crate::model::run::{Failure, Kind, Outcome, ReleaseId, RunId};
use crate::reconcile::{self, Doing, Situation};
use crate::record::{Degraded, Pause, Record, Release, Run, Target, Watch};
use crate::store;

/// How far back the record is looked through.
const RECENT: usize = 50;

/// Times are milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct Report {
    pub(super) stack: String,
    /// `None`: nothing is live.
    pub(super) live: Option<Live>,
    pub(super) target: Target,
    /// The new release is watched, and gives way to another if it turns bad.
    pub(super) watching: Option<Watch>,
    pub(super) paused: Option<Pause>,
    pub(super) degraded: Option<Degraded>,
    /// The run in progress.
    pub(super) doing: Option<Run>,
    /// The turn in progress, of which the run is a part.
    pub(super) turn: Option<Turn>,
    pub(super) wrong: Option<Wrong>,
    pub(super) drift: Vec<String>,
    /// A wake waits for the turn in progress to end.
    pub(super) pending: bool,
    /// Where the branch was seen last, and when.
    pub(super) tip: Option<String>,
    pub(super) looked_at: Option<i64>,
    pub(super) services: Vec<ServiceState>,
    pub(super) engine_error: Option<String>,
    pub(super) daemon: Daemon,
}

#[derive(Debug, Serialize)]
pub(super) struct Live {
    pub(super) release: ReleaseId,
    /// The newest revision that asks for what runs.
    pub(super) revision: String,
    pub(super) subject: String,
    pub(super) since: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Turn {
    pub(super) why: String,
    pub(super) since: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Wrong {
    pub(super) revision: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) run: Option<RunId>,
    pub(super) class: Class,
    pub(super) failure: Failure,
    pub(super) since: i64,
    /// When it is tried again by itself.
    pub(super) again_at: Option<i64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "daemon", rename_all = "kebab-case")]
pub(super) enum Daemon {
    Running {
        pid: u32,
        version: String,
    },
    Silent {
        error: String,
    },
    #[default]
    Down,
}

/// `daemon`: `None` when none runs; its situation, or why it does not tell. `now` in milliseconds since the Unix epoch.
pub(in crate::cli) async fn gather(
    config: &Config,
    daemon: Option<Result<Status, String>>,
    observed: Result<Observed, String>,
    now: i64,
) -> Result<Report, CliError> {
    let mut report = Report { stack: config.stack.name.clone(), ..Report::default() };
    let tip = daemon.as_ref().and_then(|told| told.as_ref().ok()?.situation.tip.clone());
    let (mut runs, mut current) = (Vec::new(), None);
    match app::lookup(config) {
        // Nothing has happened yet, which is no error of who asks.
        Err(store::Error::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(record) => {
            runs = record.runs(RECENT).await?;
            current = record.current().await?;
            report.target = record.target().await?;
            report.watching = record.watch().await?.filter(|watch| watch.until > now);
            report.paused = record.paused(now).await?;
            report.degraded = record.degraded().await?;
            report.live = match &current {
                Some(release) => Some(live(&record, release, &runs).await?),
                None => None,
            };
            report.doing = runs.iter().find(|run| run.ended_at.is_none()).cloned();
            report.wrong = match &report.degraded {
                Some(degraded) => Some(beyond_mending(degraded)),
                None => failed(&record, tip.as_deref(), &runs).await?,
            };
        }
    }
    match daemon {
        None => {}
        Some(Err(error)) => report.daemon = Daemon::Silent { error },
        Some(Ok(status)) => report.hear(status),
    }
    let desired = current.as_ref().map(|release| &release.desired);
    report.services = services(desired, observed.as_ref().ok(), &runs);
    report.engine_error = observed.err();
    Ok(report)
}

impl Report {
    /// What only the daemon knows.
    fn hear(&mut self, status: Status) {
        let Situation { doing, looked_at, tip, wrong, drift, .. } = status.situation;
        self.daemon = Daemon::Running { pid: status.pid, version: status.version };
        if let Some(wrong) = wrong {
            self.wrong = Some(met(wrong, self.wrong.take()));
        }
        if let Doing::Turn { why, since, .. } = doing {
            self.turn = Some(Turn { why, since });
        }
        self.pending = status.pending;
        (self.drift, self.tip, self.looked_at) = (drift, tip, looked_at);
    }
}

async fn live(record: &Record, release: &Release, runs: &[Run]) -> Result<Live, CliError> {
    let applied = record.applied().await?.unwrap_or_else(|| release.revision.clone());
    let subject = match runs.iter().find(|run| run.revision == applied.as_str()) {
        Some(run) => run.subject.clone(),
        None => release.subject.clone(),
    };
    let changed = |run: &&Run| run.outcome == Some(Outcome::Succeeded) && run.kind != Kind::Heal;
    let since = runs.iter().find(changed).and_then(|run| run.ended_at).unwrap_or(release.created_at);
    Ok(Live { release: release.id, revision: applied.to_string(), subject, since })
}

/// What failed, by the record: the tip that is not tried again, else the newest run. Without a daemon the newest
/// revision that was tried stands for the tip.
async fn failed(record: &Record, tip: Option<&str>, runs: &[Run]) -> Result<Option<Wrong>, CliError> {
    let tried = runs.iter().find(|run| run.kind == Kind::Deploy).map(|run| run.revision.as_str());
    let revision = tip.or(tried).and_then(|revision| revision.parse().ok());
    if let Some(revision) = revision
        && let Some(denial) = record.denial(&revision).await?
        && let Some(failure) = denial.why.failure().cloned()
    {
        let subject = runs.iter().find(|run| run.id == denial.run).map(|run| run.subject.clone());
        return Ok(Some(Wrong {
            revision: Some(revision.to_string()),
            subject,
            run: Some(denial.run),
            class: Class::Stalled,
            failure,
            since: denial.at,
            again_at: None,
        }));
    }
    let newest = runs.iter().find(|run| run.ended_at.is_some());
    let Some(Run { outcome: Some(Outcome::Failed { reason }), .. }) = newest else { return Ok(None) };
    Ok(newest.map(|run| Wrong {
        revision: Some(run.revision.clone()),
        subject: Some(run.subject.clone()),
        run: Some(run.id),
        class: Class::Failed,
        failure: reason.clone(),
        since: run.ended_at.unwrap_or(run.started_at),
        again_at: None,
    }))
}

fn beyond_mending(degraded: &Degraded) -> Wrong {
    Wrong {
        revision: None,
        subject: None,
        run: None,
        class: Class::Stalled,
        failure: reconcile::given_up(degraded),
        since: degraded.since,
        again_at: None,
    }
}

/// What the daemon met, with what the record knows of the same.
fn met(wrong: reconcile::Wrong, recorded: Option<Wrong>) -> Wrong {
    let reconcile::Wrong { class, failure, since, again_at } = wrong;
    let same = recorded.filter(|recorded| recorded.failure == failure);
    let (revision, subject, run) = match same {
        Some(recorded) => (recorded.revision, recorded.subject, recorded.run),
        None => (None, None, None),
    };
    Wrong { revision, subject, run, class, failure, since, again_at }
}
