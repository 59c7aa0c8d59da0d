//! The timer: a cron line, shifted by a fixed jitter, that wakes the loop.
//!
//! Times are UTC: in local time a line may fire twice or not at all on the days the clocks change.

mod line;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Reason, Wakes};
pub use line::LineError as ScheduleError;

/// How long to sleep at most before looking at the clock again: it may be set, and machines are suspended.
const LOOK: Duration = Duration::from_secs(30);

/// A cron line and its jitter.
#[derive(Clone, Debug)]
pub struct Schedule {
    lines: Vec<cron::Schedule>,
    jitter: TimeDelta,
}

impl Schedule {
    /// Reads the five fields of crontab(5) — minute, hour, day of month, month, day of week — or one of
    /// `@hourly @daily @weekly @monthly @yearly`. A line that can never fire is refused.
    ///
    /// Every time is late by the same amount, less than `window` and drawn from `name`: many agents with one
    /// schedule do not knock on the remote in the same second, and each keeps its own rhythm.
    pub fn parse(text: &str, name: &str, window: Duration) -> Result<Self, ScheduleError> {
        Ok(Self { lines: line::parse(text)?, jitter: jitter(name, window) })
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
        let mut due = self.next_after(clock());
        loop {
            let now = clock();
            let next = self.next_after(now);
            // The earlier of both: a clock set back must not put the next wake off.
            due = due.into_iter().chain(next).min();
            let Some(at) = due else { return stop.cancelled().await };
            let wait = (at - now).to_std().unwrap_or_default();
            if wait.is_zero() {
                if let Err(error) = wakes.wake(Reason::Poll).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "the timer's wake is not on disk");
                }
                due = next;
            } else if stop.run_until_cancelled(tokio::time::sleep(wait.min(LOOK))).await.is_none() {
                return;
            }
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

    #[tokio::test(start_paused = true)]
    async fn the_timer_wakes_at_its_times_and_ends_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db"), super::super::MIGRATIONS).unwrap();
        let wakes = Wakes::open(store, "shop").await.unwrap();
        let schedule = Schedule::parse("*/10 * * * *", "shop", Duration::from_secs(60)).unwrap();
        let (begin, started) = (at("2026-11-22T16:00:00Z"), tokio::time::Instant::now());
        let clock = move || begin + TimeDelta::from_std(started.elapsed()).unwrap();
        let stop = CancellationToken::new();
        let timer = tokio::spawn(schedule.clone().run(wakes.clone(), clock, stop.clone()));
        let mut expected = schedule.next_after(begin).unwrap();
        for _ in 0..3 {
            assert_eq!(wakes.next().await, Reason::Poll);
            assert!(clock() >= expected, "{} before {expected}", clock());
            expected = schedule.next_after(clock()).unwrap();
        }
        stop.cancel();
        timer.await.unwrap();
    }
}
