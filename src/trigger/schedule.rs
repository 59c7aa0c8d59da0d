//! The timer: a cron line, shifted by a fixed jitter, that wakes the loop.
//!
//! Times are UTC: in local time a line may fire twice or not at all on the days the clocks change.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Reason, Wakes};
use crate::model::cron;
use crate::report;

pub use crate::model::cron::LineError as ScheduleError;

/// How long to sleep at most before looking at the clock again: it may be set, and machines are suspended.
const LOOK: Duration = Duration::from_secs(30);

/// A cron line and its jitter.
#[derive(Clone, Debug)]
pub struct Schedule {
    lines: Vec<::cron::Schedule>,
    jitter: TimeDelta,
}

impl Schedule {
    /// Reads the five fields of crontab(5) — minute, hour, day of month, month, day of week — or one of
    /// `@hourly @daily @weekly @monthly @yearly`. A line that can never fire is refused.
    ///
    /// Every time is late by the same amount, less than `window` and drawn from `name`: many agents with one
    /// schedule do not knock on the remote in the same second, and each keeps its own rhythm.
    pub fn parse(text: &str, name: &str, window: Duration) -> Result<Self, ScheduleError> {
        Ok(Self { lines: cron::parse(text)?, jitter: jitter(name, window) })
    }

    /// The first time later than `moment`; `None` after the year 2100.
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let unshifted = moment.checked_sub_signed(self.jitter)?;
        let next = self.lines.iter().filter_map(|line| line.after(&unshifted).next()).min()?;
        next.checked_add_signed(self.jitter)
    }

    /// Wakes at every time of the schedule until `stop`. Times missed (a suspended machine) are one wake,
    /// at once. `clock` is the time of day.
    pub async fn run(self, wakes: Wakes, clock: impl Fn() -> DateTime<Utc> + Send, stop: CancellationToken) {
        let mut timer = Timer::new(self, clock);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            if let Err(error) = wakes.wake(Reason::Poll).await {
                tracing::error!(error = report::line(&error), "the timer's wake is not on disk");
            }
        }
    }
}

struct Timer<C> {
    schedule: Schedule,
    clock: C,
    due: Option<DateTime<Utc>>,
}

impl<C: Fn() -> DateTime<Utc>> Timer<C> {
    fn new(schedule: Schedule, clock: C) -> Self {
        let due = schedule.next_after(clock());
        Self { schedule, clock, due }
    }

    /// Waits for the next time of the schedule. Dropping the future misses none.
    async fn tick(&mut self) {
        loop {
            let now = (self.clock)();
            let next = self.schedule.next_after(now);
            // The earlier of both: a clock set back must not put the next time off.
            self.due = self.due.into_iter().chain(next).min();
            let Some(at) = self.due else { return std::future::pending().await };
            let wait = (at - now).to_std().unwrap_or_default();
            if wait.is_zero() {
                self.due = next;
                return;
            }
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }
}

fn jitter(name: &str, window: Duration) -> TimeDelta {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let drawn = digest.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let millis = drawn.checked_rem(window).unwrap_or(0);
    TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::store::Store;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_name_has_the_same_jitter_below_the_window() {
        let window = Duration::from_secs(45);
        let all: Vec<TimeDelta> = (0..50).map(|n| jitter(&format!("stack-{n}"), window)).collect();
        assert!(all.iter().all(|one| *one >= TimeDelta::zero() && *one < TimeDelta::seconds(45)));
        assert!(all.iter().collect::<std::collections::HashSet<_>>().len() > 40, "they spread");
        assert_eq!(jitter("stack-1", window), all[1]);
        assert_eq!(jitter("stack-1", Duration::ZERO), TimeDelta::zero());
    }

    #[test]
    fn jitter_shifts_every_time_alike() {
        let schedule = Schedule::parse("*/5 * * * *", "shop", Duration::from_secs(200)).unwrap();
        let mut moment = at("2026-11-22T16:00:00Z");
        for _ in 0..20 {
            let next = schedule.next_after(moment).unwrap();
            assert!(next > moment);
            let plain = next - schedule.jitter;
            assert_eq!(plain.timestamp() % 300, 0, "{next}");
            moment = next;
        }
    }

    /// A clock that runs with the paused time of the test and can be set.
    fn clock(begin: &str) -> (impl Fn() -> DateTime<Utc> + use<>, Arc<AtomicI64>) {
        let (begin, started) = (at(begin), tokio::time::Instant::now());
        let set = Arc::new(AtomicI64::new(0));
        let shift = Arc::clone(&set);
        let clock = move || {
            let elapsed = TimeDelta::from_std(started.elapsed()).unwrap();
            begin + elapsed + TimeDelta::minutes(shift.load(Ordering::Relaxed))
        };
        (clock, set)
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_ticks_at_the_times_of_the_schedule() {
        let schedule = Schedule::parse("*/10 * * * *", "shop", Duration::from_secs(60)).unwrap();
        let (clock, set) = clock("2026-11-22T16:00:00Z");
        let mut expected = schedule.next_after(clock()).unwrap();
        let mut timer = Timer::new(schedule, &clock);
        for _ in 0..10 {
            timer.tick().await;
            assert_eq!(clock(), expected);
            expected += TimeDelta::minutes(10);
        }

        set.store(35, Ordering::Relaxed);
        let woken = clock();
        timer.tick().await;
        assert_eq!(clock(), woken, "what was missed ticks at once");
        timer.tick().await;
        assert_eq!(clock(), expected + TimeDelta::minutes(30), "and once");

        set.store(-600, Ordering::Relaxed);
        let back = clock();
        timer.tick().await;
        assert!(clock() - back <= TimeDelta::minutes(10), "a clock set back puts nothing off");
    }

    #[tokio::test]
    async fn each_time_wakes_the_loop_until_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db"), super::super::MIGRATIONS).unwrap();
        let wakes = Wakes::open(store, "shop").await.unwrap();
        let schedule = Schedule::parse("* * * * *", "shop", Duration::ZERO).unwrap();
        // A minute passes at every look: the next time is always due.
        let minutes = AtomicI64::new(0);
        let clock =
            move || at("2026-11-22T16:00:00Z") + TimeDelta::minutes(minutes.fetch_add(1, Ordering::Relaxed));
        let stop = CancellationToken::new();
        let timer = tokio::spawn(schedule.run(wakes.clone(), clock, stop.clone()));
        for _ in 0..3 {
            assert_eq!(wakes.next(|_| ()).await, Reason::Poll);
        }
        stop.cancel();
        timer.await.unwrap();
    }
}
