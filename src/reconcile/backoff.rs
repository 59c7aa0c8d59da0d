//! When what went wrong is tried again by itself, and what is left alone until then.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::model::class::Class;
use crate::model::run::Failure;
use crate::trigger::Reason;

use super::Reconciler;
use super::journal::now;
use super::situation::Wrong;

/// The longest that anything waits for its next try, in milliseconds.
const PATIENCE: i64 = 300_000;

/// What is worked out anew from a clock differs by less.
const ALIKE: Duration = Duration::from_secs(2);

/// When something is due, by a clock that nobody sets: by another, an alarm could ring too early and be the last.
#[derive(Debug, Default)]
pub struct Alarm(watch::Sender<Option<Instant>>);

impl Alarm {
    pub(super) fn set(&self, wait: Duration) {
        self.0.send_replace(Some(Instant::now() + wait));
    }

    /// Sets it unless it rings by then anyway: whoever asks again at each ring would have one more of them for each time
    /// that somebody asked in between. Says whether it was set.
    pub(super) fn set_unless_sooner(&self, wait: Duration) -> bool {
        let (now, due) = (Instant::now(), *self.0.borrow());
        let rings = due.is_some_and(|due| due > now && due < now + wait + ALIKE);
        if !rings {
            self.set(wait);
        }
        !rings
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.0.borrow().is_some_and(|due| Instant::now() < due)
    }
}

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
        let (wakes, rest) = (self.wakes.clone(), Duration::from_millis(wait as u64));
        self.alarm.set(rest);
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            // In memory the wake holds even when it cannot be written.
            let _ = wakes.wake(Reason::Retry).await;
        });
        now() + wait
    }

    /// Neither the timer nor what the last try did to containers hurries what waits for its next try; a person, a push
    /// and a release that turns bad do.
    pub(super) fn still_backing_off(&self, reason: &Reason) -> bool {
        let patient = matches!(reason, Reason::Poll | Reason::Drift | Reason::Retry);
        let waits = self.situation.borrow().wrong.as_ref().is_some_and(|wrong| wrong.again_at.is_some());
        patient && waits && self.alarm.is_ahead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_its_next_try_rests_until_the_alarm_rings_and_no_longer() {
        let alarm = Alarm::default();
        assert!(!alarm.is_ahead());
        for wait in [2_000, 123_456, 300_000].map(Duration::from_millis) {
            alarm.set(wait);
            let rings = tokio::spawn(tokio::time::sleep(wait));
            tokio::time::sleep(wait - Duration::from_millis(1)).await;
            assert!(alarm.is_ahead());
            rings.await.unwrap();
            assert!(!alarm.is_ahead());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_in_between_sets_no_second_alarm_unless_it_is_to_ring_sooner() {
        let (alarm, seconds) = (Alarm::default(), Duration::from_secs);
        assert!(alarm.set_unless_sooner(seconds(30)));
        tokio::time::sleep(seconds(10)).await;
        assert!(!alarm.set_unless_sooner(seconds(30)));
        assert!(!alarm.set_unless_sooner(seconds(19)));
        assert!(alarm.set_unless_sooner(seconds(5)));
        tokio::time::sleep(seconds(5)).await;
        assert!(alarm.set_unless_sooner(seconds(30)));
    }
}
