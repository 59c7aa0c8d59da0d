//! Runs that ended, counted as they are found in the record. Which have been counted is known by their number, so that
//! asking often or seldom gives the same counts.

use std::collections::BTreeMap;

use super::Text;
use crate::model::run::{Entry, Outcome, RunId};
use crate::record::{Logged, Run};

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Tally {
    /// Every run up to this one is counted, or was over before the process began.
    counted: Option<RunId>,
    runs: BTreeMap<(String, &'static str), u64>,
    took: BTreeMap<String, Length>,
    builds: Length,
    gates: Length,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    millis: u64,
    count: u64,
}

impl Length {
    fn add(&mut self, millis: u64) {
        self.millis += millis;
        self.count += 1;
    }
}

/// A run that has ended, with its log.
pub struct Ended {
    pub run: Run,
    pub log: Vec<Logged>,
}

impl Tally {
    /// Those of `runs` (newest first) that are to be counted now, oldest first. The first call only takes note of what
    /// there was before.
    pub fn uncounted(&mut self, runs: Vec<Run>) -> Vec<Run> {
        let newest = runs.iter().map(|run| run.id).max().unwrap_or_default();
        let Some(counted) = self.counted else {
            let open = runs.iter().filter(|run| run.ended_at.is_none()).map(|run| RunId(run.id.0 - 1)).min();
            self.counted = Some(open.unwrap_or(newest));
            return Vec::new();
        };
        let later = runs.into_iter().rev().filter(|run| run.id > counted);
        // One that goes on is counted when it has ended, and so is what follows it.
        later.take_while(|run| run.ended_at.is_some()).collect()
    }

    pub fn count(&mut self, Ended { run, log }: Ended) {
        let kind = run.kind.to_string();
        let word = run.outcome.as_ref().map_or("interrupted", Outcome::word);
        *self.runs.entry((kind.clone(), word)).or_default() += 1;
        let length = run.ended_at.map_or(0, |ended| (ended - run.started_at).max(0).unsigned_abs());
        self.took.entry(kind).or_default().add(length);
        for logged in log {
            match logged.entry {
                Entry::Built { millis, .. } => self.builds.add(millis),
                Entry::Passed { millis, .. } => self.gates.add(millis),
                _ => {}
            }
        }
        self.counted = Some(run.id);
    }

    pub(super) fn write(&self, out: &mut Text) {
        let runs = out.counter("agent_runs_total", "Runs that ended, by kind and outcome.");
        for ((kind, outcome), count) in &self.runs {
            runs.set(&[("kind", kind), ("outcome", outcome)], *count as f64);
        }
        let took = out.summary("agent_run_seconds", "How long runs took, by kind.");
        for (kind, length) in &self.took {
            took.observed(&[("kind", kind)], length.millis as f64 / 1000.0, length.count);
        }
        let builds = out.summary("agent_build_seconds", "How long builds of images took.");
        builds.observed(&[], self.builds.millis as f64 / 1000.0, self.builds.count);
        let gates = out.summary("agent_gate_seconds", "How long new instances took to prove themselves.");
        gates.observed(&[], self.gates.millis as f64 / 1000.0, self.gates.count);
    }
}
