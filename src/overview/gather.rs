//! What is known, from those who know it, as one value: the shape of `agent status --json`.

use serde::{Deserialize, Serialize};

use super::services::{ServiceState, services};
use crate::model::class::Class;
use crate::model::instance::Observed;
use crate::model::run::{Entry, Failure, Kind, Outcome, ReleaseId, RunId};
use crate::reconcile::{self, Doing, HeldBack, Situation};
use crate::record::{Degraded, Logged, Pause, Record, RecordError, Release, Run, Target, Watch, Why};

/// How far back the record is looked through.
const RECENT: usize = 50;

/// Times are milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub stack: String,
    /// `None`: nothing is live.
    pub live: Option<Live>,
    pub target: Target,
    /// The new release is watched, and gives way to another if it turns bad.
    pub watching: Option<Watch>,
    pub paused: Option<Pause>,
    pub degraded: Option<Degraded>,
    /// The run in progress.
    pub doing: Option<Run>,
    /// The turn in progress, of which the run is a part.
    pub turn: Option<Turn>,
    pub wrong: Option<Wrong>,
    /// The tip, if it may not run now.
    pub held_back: Option<HeldBack>,
    pub drift: Vec<String>,
    /// A wake waits for the turn in progress to end.
    pub pending: bool,
    /// Where the branch was seen last, and when.
    pub tip: Option<String>,
    pub looked_at: Option<i64>,
    pub services: Vec<ServiceState>,
    pub engine_error: Option<String>,
    /// Of Stripe's events, if any came in.
    pub events: Option<Events>,
    pub daemon: Daemon,
}

/// What is left to do of Stripe's events, for all destinations together.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    pub pending: u64,
    /// When the oldest of them was received.
    pub oldest: Option<i64>,
    pub dead: u64,
}

#[derive(Debug, Serialize)]
pub struct Live {
    pub release: ReleaseId,
    /// The newest revision that asks for what runs.
    pub revision: String,
    pub subject: String,
    pub since: i64,
}

#[derive(Debug, Serialize)]
pub struct Turn {
    pub why: String,
    pub since: i64,
}

#[derive(Debug, Serialize)]
pub struct Wrong {
    pub revision: Option<String>,
    pub subject: Option<String>,
    pub run: Option<RunId>,
    pub class: Class,
    /// It was live before.
    pub went_bad: bool,
    pub failure: Failure,
    pub since: i64,
    /// When it is tried again by itself.
    pub again_at: Option<i64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "daemon", rename_all = "kebab-case")]
pub enum Daemon {
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

/// What the daemon tells of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    #[serde(flatten)]
    pub situation: Situation,
    /// A wake waits for the turn in progress to end.
    pub pending: bool,
}

/// `record`: `None` when nothing has happened yet. `daemon`: `None` when none runs; its situation, or why it does
/// not tell. `observed`: what the engine shows, or why it does not. `now` in milliseconds since the Unix epoch.
pub async fn gather(
    stack: &str,
    record: Option<&Record>,
    daemon: Option<Result<Status, String>>,
    observed: Result<Observed, String>,
    now: i64,
) -> Result<Report, RecordError> {
    let mut report = Report { stack: stack.to_owned(), ..Report::default() };
    let tip = daemon.as_ref().and_then(|told| told.as_ref().ok()?.situation.tip.clone());
    let (mut runs, mut current) = (Vec::new(), None);
    if let Some(record) = record {
        runs = record.runs(RECENT).await?;
        current = record.current().await?;
        report.target = record.target().await?;
        report.watching = record.watch().await?.filter(|watch| watch.until > now);
        report.paused = record.paused(now).await?;
        report.degraded = record.degraded().await?;
        report.live = match &current {
            Some(release) => Some(live(record, release, &runs).await?),
            None => None,
        };
        report.doing = runs.iter().find(|run| run.ended_at.is_none()).cloned();
        report.wrong = match &report.degraded {
            Some(degraded) => Some(beyond_mending(degraded)),
            None => failed(record, tip.as_deref(), &runs).await?,
        };
    }
    match daemon {
        None => {}
        Some(Err(error)) => report.daemon = Daemon::Silent { error },
        Some(Ok(status)) => report.hear(status),
    }
    let desired = current.as_ref().map(|release| &release.desired);
    report.services =
        services(desired, observed.as_ref().ok(), &runs, report.doing.as_ref().map(|run| run.id));
    report.engine_error = observed.err();
    Ok(report)
}

impl Report {
    /// What only the daemon knows.
    fn hear(&mut self, status: Status) {
        let Situation { doing, looked_at, tip, wrong, drift, held_back, turns, .. } = status.situation;
        self.daemon = Daemon::Running { pid: status.pid, version: status.version };
        let recorded = self.wrong.take();
        self.wrong = match wrong {
            Some(wrong) => Some(met(wrong, recorded)),
            // Since the newest run failed it has turned and met nothing: only what was given up or is denied still counts.
            None => recorded.filter(|recorded| turns == 0 || recorded.class == Class::Stalled),
        };
        if let Doing::Turn { why, since, .. } = doing {
            self.turn = Some(Turn { why, since });
        }
        self.pending = status.pending;
        (self.drift, self.tip, self.looked_at) = (drift, tip, looked_at);
        self.held_back = held_back;
    }
}

async fn live(record: &Record, release: &Release, runs: &[Run]) -> Result<Live, RecordError> {
    let applied = record.applied().await?.unwrap_or_else(|| release.revision.clone());
    let subject = match runs.iter().find(|run| run.revision == applied.as_str()) {
        Some(run) => run.subject.clone(),
        None => release.subject.clone(),
    };
    let mut since = release.created_at;
    for run in runs.iter().filter(|run| run.kind != Kind::Heal) {
        let ended = match &run.outcome {
            None => None,
            Some(Outcome::Succeeded) => run.ended_at,
            Some(_) => continue,
        };
        if let Some(at) = switched_at(&record.log(run.id, 0).await?, None).or(ended) {
            since = at;
            break;
        }
    }
    Ok(Live { release: release.id, revision: applied.to_string(), subject, since })
}

/// When a run made a service live, or without one its release as a whole; it may still retire what was there before.
pub fn switched_at(log: &[Logged], service: Option<&str>) -> Option<i64> {
    let (mut step, mut at) = (None, None);
    for logged in log {
        match &logged.entry {
            Entry::Step { number, of, services } => step = Some((number == of, services)),
            Entry::Switched => {
                let counts = match (step, service) {
                    (None, _) => true,
                    (Some((last, _)), None) => last,
                    (Some((_, services)), Some(service)) => services.iter().any(|name| name == service),
                };
                at = if counts { Some(logged.at) } else { at };
            }
            _ => {}
        }
    }
    at
}

/// What failed, by the record: the tip that is not tried again, else the newest run. Without a daemon the newest
/// revision that was tried stands for the tip.
async fn failed(record: &Record, tip: Option<&str>, runs: &[Run]) -> Result<Option<Wrong>, RecordError> {
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
            went_bad: matches!(denial.why, Why::WentBad { .. }),
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
        went_bad: false,
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
        went_bad: false,
        failure: reconcile::given_up(degraded),
        since: degraded.since,
        again_at: None,
    }
}

/// What the daemon met, with what the record knows of the same.
fn met(wrong: reconcile::Wrong, recorded: Option<Wrong>) -> Wrong {
    let reconcile::Wrong { class, failure, since, again_at } = wrong;
    let same = recorded.filter(|recorded| recorded.failure == failure);
    let met =
        Wrong { revision: None, subject: None, run: None, class, went_bad: false, failure, since, again_at };
    match same {
        Some(Wrong { revision, subject, run, went_bad, .. }) => {
            Wrong { revision, subject, run, went_bad, ..met }
        }
        None => met,
    }
}
