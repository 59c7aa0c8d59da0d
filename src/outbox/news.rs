//! What there is to tell, from what is known. Pure.

use serde::{Deserialize, Serialize};

use crate::model::run::{Failure, Kind, Outcome, ReleaseId, RunId};
use crate::reconcile::{HeldBack, Wrong};
use crate::record::Run;

/// One piece of news. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    pub stack: String,
    pub at: i64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// A run began.
    Begun { run: Told },
    /// It ended. `recovers`: the run before it failed. `again`: after `agent down` its release is live as before.
    /// `denied`: the revision that a rollback keeps out.
    Ended {
        run: Told,
        outcome: Outcome,
        millis: i64,
        recovers: bool,
        #[serde(default)]
        again: bool,
        release: Option<ReleaseId>,
        denied: Option<String>,
    },
    /// A revision may not run now.
    HeldBack { revision: String, subject: String, why: String },
    /// Something is wrong that no run ended with.
    Trouble { message: String, hint: Option<String> },
    /// More deliveries of Stripe's events have run out of attempts: so many now.
    DeadLetters { count: u64 },
    /// It is over. `since`: when it began, by which it is known.
    Recovered { message: String, since: i64, millis: i64 },
}

/// What is told of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub id: RunId,
    pub kind: Kind,
    pub revision: String,
    pub subject: String,
}

impl Told {
    fn of(run: &Run) -> Self {
        Self { id: run.id, kind: run.kind, revision: run.revision.clone(), subject: run.subject.clone() }
    }
}

impl News {
    /// What is the same when the same thing is found again: it is told once.
    pub(super) fn key(&self) -> String {
        match &self.what {
            What::Begun { run } => format!("run-{}-begun", run.id),
            What::Ended { run, .. } => format!("run-{}-ended", run.id),
            What::HeldBack { revision, why, .. } => format!("held-{revision}-{why}"),
            What::Trouble { .. } => format!("trouble-{}", self.at),
            What::DeadLetters { .. } => format!("dead-{}", self.at),
            What::Recovered { since, .. } => format!("recovered-{since}"),
        }
    }

    /// Whether somebody must know: what went wrong, and that it is over.
    pub(super) fn matters(&self) -> bool {
        match &self.what {
            What::Begun { .. } | What::HeldBack { .. } => false,
            What::Ended { run, outcome, recovers, .. } => match outcome {
                Outcome::Superseded { .. } => false,
                Outcome::Succeeded | Outcome::Unchanged => {
                    *recovers || matches!(run.kind, Kind::Rollback | Kind::Revert)
                }
                _ => true,
            },
            What::Trouble { .. } | What::DeadLetters { .. } | What::Recovered { .. } => true,
        }
    }
}

pub(super) fn begun(stack: &str, run: &Run) -> News {
    News { stack: stack.to_owned(), at: run.started_at, what: What::Begun { run: Told::of(run) } }
}

/// What surrounds the end of a run.
pub(super) struct Around {
    pub(super) recovers: bool,
    pub(super) again: bool,
    pub(super) release: Option<ReleaseId>,
    pub(super) denied: Option<String>,
}

/// `None` while it goes on. What a container wrote before it failed stays on this machine: it may hold secrets.
pub(super) fn ended(stack: &str, run: &Run, around: Around) -> Option<News> {
    let (at, outcome) = (run.ended_at?, run.outcome.clone()?);
    let outcome = match outcome {
        Outcome::Failed { reason } => Outcome::Failed { reason: Failure { log: String::new(), ..reason } },
        other => other,
    };
    let Around { recovers, again, release, denied } = around;
    let denied = denied.filter(|_| run.kind == Kind::Rollback);
    let millis = at - run.started_at;
    let what = What::Ended { run: Told::of(run), outcome, millis, recovers, again, release, denied };
    Some(News { stack: stack.to_owned(), at, what })
}

pub(super) fn held_back(stack: &str, held: &HeldBack) -> News {
    let HeldBack { revision, subject, why, since, .. } = held.clone();
    News { stack: stack.to_owned(), at: since, what: What::HeldBack { revision, subject, why } }
}

pub(super) fn trouble(stack: &str, wrong: &Wrong) -> News {
    let message = match &wrong.failure.service {
        Some(service) => format!("{service}: {}", wrong.failure.message),
        None => wrong.failure.message.clone(),
    };
    let what = What::Trouble { message, hint: wrong.failure.hint.clone() };
    News { stack: stack.to_owned(), at: wrong.since, what }
}

pub(super) fn dead_letters(stack: &str, count: u64, at: i64) -> News {
    News { stack: stack.to_owned(), at, what: What::DeadLetters { count } }
}

/// What follows a trouble that was told, once it is over.
pub(super) fn recovered(trouble: &News, now: i64) -> Option<News> {
    let What::Trouble { message, .. } = &trouble.what else { return None };
    let (message, since) = (message.clone(), trouble.at);
    let what = What::Recovered { message, since, millis: now - since };
    Some(News { stack: trouble.stack.clone(), at: now, what })
}
