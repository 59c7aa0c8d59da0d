//! When what went wrong is tried again by itself, and what is left alone until then.

use std::time::Duration;

use crate::engine::Engine;
use crate::model::class::Class;
use crate::model::run::Failure;
use crate::trigger::Reason;

use super::Reconciler;
use super::journal::now;
use super::situation::Wrong;

/// The longest that anything waits for its next try, in milliseconds.
const PATIENCE: i64 = 300_000;
/// An alarm that rings by so many milliseconds too early is in time.
const EARLY: i64 = 50;

impl<E: Engine> Reconciler<E> {
    /// What a turn met. What is not a person's to mend is tried again by itself.
    pub(super) fn wrong(&self, (class, failure): (Class, Failure), before: Option<Wrong>) -> Wrong {
        tracing::error!(?class, "{}", failure.message);
        let same = before.filter(|before| before.failure.message == failure.message);
        let since = same.as_ref().map_or_else(now, |before| before.since);
        let again_at = (class != Class::Stalled).then(|| self.try_again_after(now() - since));
        Wrong { class, failure, since, again_at }
    }

    /// Doubles with the time the trouble has lasted, from 2 s up to 5 min, and differs by a fifth.
    fn try_again_after(&self, lasted: i64) -> i64 {
        let wait = lasted.clamp(2_000, PATIENCE);
        let wait = wait - wait / 10 + now().rem_euclid(wait / 5 + 1);
        let wakes = self.wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait as u64)).await;
            // In memory the wake holds even when it cannot be written.
            let _ = wakes.wake(Reason::Retry).await;
        });
        now() + wait
    }

    /// Neither the timer nor what the last try did to containers hurries what waits for its next try; a person, a push
    /// and a release that turns bad do. A moment too far ahead is of a clock that was set back since.
    pub(super) fn still_backing_off(&self, reason: &Reason) -> bool {
        let patient = matches!(reason, Reason::Poll | Reason::Drift | Reason::Retry);
        let again_at = self.situation.borrow().wrong.as_ref().and_then(|wrong| wrong.again_at);
        patient && again_at.is_some_and(|at| (EARLY..=PATIENCE * 2).contains(&(at - now())))
    }
}
