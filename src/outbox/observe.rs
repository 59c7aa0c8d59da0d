//! The observer: whenever the loop's situation changes, what is new becomes letters. It only reads what others wrote,
//! so it may look as often as it likes, and after a crash it simply looks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::news::{self, Around, News, What};
use super::{FRESH, Outbox, letters};
use crate::model::run::{Failure, Kind, Outcome};
use crate::reconcile::Wrong;
use crate::record::{RecordError, Run, Target as Reach};
use crate::report;
use crate::store;

/// A run's begin and end may share one change of the situation; and what could not be read is looked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// How many runs can begin between two looks.
const RECENT: usize = 50;
/// A trouble that is over within this time (milliseconds) was a hiccup of the network, and nobody is told.
const LASTING: i64 = 60_000;
/// Where events die one after the other, somebody hears of it once in this time (milliseconds).
const DEAD_AGAIN: i64 = 60 * 60 * 1000;

#[derive(Debug, thiserror::Error)]
enum ObserveError {
    #[error("what happened cannot be read")]
    Record(#[from] RecordError),
    #[error("letters cannot be written")]
    Store(#[from] store::Error),
}

/// Observes until `stop`. `bells` are the targets' postmen, in the order of the targets.
pub(super) async fn run(outbox: &Outbox, bells: &[Arc<Notify>], stop: CancellationToken) {
    let mut situation = outbox.situation.clone();
    let mut enlisted = false;
    let mut deaths = Deaths::default();
    loop {
        let looked = async {
            if !enlisted {
                enlist(outbox).await?;
                enlisted = true;
            }
            look(outbox, bells, &mut deaths).await
        };
        if let Err(error) = looked.await {
            tracing::warn!("news: {}", report::line(&error));
        }
        tokio::select! {
            changed = situation.changed() => if changed.is_err() {
                // The loop is gone, and with it whatever could happen.
                return;
            },
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn enlist(outbox: &Outbox) -> Result<(), ObserveError> {
    let names: Vec<&'static str> = outbox.targets.iter().map(|target| target.name()).collect();
    let now = (outbox.clock)();
    Ok(outbox.store.write(move |tx| letters::enlist(tx, &names, now)).await?)
}

async fn look(outbox: &Outbox, bells: &[Arc<Notify>], deaths: &mut Deaths) -> Result<(), ObserveError> {
    let mut news = gather(outbox).await?;
    let now = (outbox.clock)();
    let dead = deaths.look(outbox, now).await?;
    news.extend(dead.map(|count| news::dead_letters(&outbox.stack, count, now)));
    for (target, bell) in outbox.targets.iter().zip(bells) {
        let wanted: Vec<News> = news.iter().filter(|news| target.wants(news)).cloned().collect();
        let name = target.name();
        let fresh = outbox.store.write(move |tx| {
            let written = wanted.iter().map(|news| letters::write(tx, name, news, now));
            written.collect::<Result<Vec<bool>, store::Error>>()
        });
        if fresh.await?.contains(&true) {
            bell.notify_one();
        }
    }
    if let Some(count) = dead {
        *deaths = Deaths { told: Some(count), at: now };
    }
    Ok(())
}

/// What is known to have been told of dead letters, and when it was.
#[derive(Default)]
struct Deaths {
    told: Option<u64>,
    at: i64,
}

impl Deaths {
    /// How many there are, if these are more than were told of. What a person sends again or gives up counts no more.
    async fn look(&mut self, outbox: &Outbox, now: i64) -> Result<Option<u64>, ObserveError> {
        let Some(count) = *outbox.dead.borrow() else { return Ok(None) };
        let told = match self.told {
            Some(told) => told,
            None => match outbox.store.read(letters::told_dead).await?.map(|news| news.what) {
                Some(What::DeadLetters { count }) => count,
                _ => 0,
            },
        };
        self.told = Some(told.min(count));
        Ok((count > told && now - self.at >= DEAD_AGAIN).then_some(count))
    }
}

/// All there is to tell, in the order in which it happened.
async fn gather(outbox: &Outbox) -> Result<Vec<News>, ObserveError> {
    // Before the record: what the situation tells of must find there all that came before it, or it would be told first.
    let situation = outbox.situation.borrow().clone();
    let runs = outbox.record.runs(RECENT).await?;
    let mut all = of_runs(outbox, &runs).await?;
    all.extend(situation.held_back.iter().map(|held| news::held_back(&outbox.stack, held)));
    // Before its first turn is over, an agent that has just begun does not know whether anything is wrong.
    if situation.wrong.is_some() || situation.turns > 0 {
        all.extend(of_trouble(outbox, situation.wrong, &runs).await?);
    }
    all.sort_by_key(|news| news.at);
    Ok(all)
}

async fn of_runs(outbox: &Outbox, runs: &[Run]) -> Result<Vec<News>, ObserveError> {
    let denied = match outbox.record.target().await? {
        Reach::Pinned(hold) => hold.denied.map(|revision| revision.to_string()),
        _ => None,
    };
    let (mut all, now) = (Vec::new(), (outbox.clock)());
    // The list is newest first; what happened in one millisecond is told in the order in which it began.
    for (place, run) in runs.iter().enumerate().rev().filter(|(_, run)| run.started_at > now - FRESH) {
        let earlier = &runs[place + 1..];
        let before = earlier.iter().find_map(|run| run.outcome.as_ref());
        let was_live = earlier.iter().find_map(|run| run.release);
        let around = Around {
            recovers: matches!(before, Some(Outcome::Failed { .. })),
            again: run.kind == Kind::Rollback && was_live.is_some() && run.release == was_live,
            release: run.release.filter(|_| run.outcome == Some(Outcome::Succeeded)),
            denied: denied.clone(),
        };
        all.push(news::begun(&outbox.stack, run));
        all.extend(news::ended(&outbox.stack, run, around));
    }
    Ok(all)
}

/// A trouble that lasts and that no run ended with, or that the one told before is over.
async fn of_trouble(
    outbox: &Outbox,
    wrong: Option<Wrong>,
    runs: &[Run],
) -> Result<Option<News>, ObserveError> {
    let (stack, now) = (&outbox.stack, (outbox.clock)());
    let told = |wrong: &Wrong| {
        let same = |reason: &Failure| reason.message == wrong.failure.message;
        runs.iter().any(|run| matches!(&run.outcome, Some(Outcome::Failed { reason }) if same(reason)))
    };
    let open = outbox.store.read(letters::open_trouble).await?;
    let Some(wrong) = wrong.filter(|wrong| !told(wrong)) else {
        return Ok(open.and_then(|trouble| news::recovered(&trouble, now)));
    };
    let trouble = news::trouble(stack, &wrong);
    // The same trouble after a restart, which knows only its own time, is told already.
    let known = open.is_some_and(|open| open.what == trouble.what);
    Ok((now - wrong.since >= LASTING && !known).then_some(trouble))
}
