//! How much of what: counted while the process lives, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::rows::Backlog;

/// What is left to do, read from the store, and what happened since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Numbers {
    pub backlog: Vec<Backlog>,
    /// Requests by what became of them: `kept`, `repeated`, or why they were refused (`forged`, `stale`, …).
    pub received: BTreeMap<&'static str, u64>,
    /// By destination and outcome: `delivered`, `refused` (another status), `unanswered`.
    pub attempts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

#[derive(Default)]
pub(super) struct Tally(Mutex<Counts>);

/// Between two lines in the log about strangers, in milliseconds.
const QUIET: i64 = 1000;

#[derive(Default)]
struct Counts {
    /// When a refusal was last told.
    told: i64,
    received: BTreeMap<&'static str, u64>,
    attempts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Tally {
    pub(super) fn received(&self, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.received.entry(outcome).or_default() += 1;
    }

    /// Whether a refusal may be told in the log now; if so, the next one may not for a while.
    pub(super) fn may_be_told(&self, now: i64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = (now - counts.told).abs() >= QUIET;
        if may {
            counts.told = now;
        }
        may
    }

    pub(super) fn attempted(&self, destination: &str, status: Option<u16>) {
        let outcome = match status {
            Some(200..=299) => "delivered",
            Some(_) => "refused",
            None => "unanswered",
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.attempts.entry(destination.to_owned()).or_default().entry(outcome).or_default() += 1;
    }

    pub(super) fn numbers(&self, backlog: Vec<Backlog>) -> Numbers {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Numbers { backlog, received: counts.received.clone(), attempts: counts.attempts.clone() }
    }
}
