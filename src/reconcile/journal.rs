//! A run's journal: every entry into the record, and a line into the log of the service.

use chrono::Utc;

use crate::model::run::{Entry, RunId};
use crate::record::{Live, Record};
use crate::roll::{Journal, JournalError};

use super::Whereabouts;

/// Writes one run's entries.
pub(super) struct RunJournal {
    pub(super) record: Record,
    pub(super) whereabouts: Whereabouts,
    pub(super) run: RunId,
}

impl Journal for RunJournal {
    async fn write(&self, entry: Entry) -> Result<(), JournalError> {
        tracing::info!(run = self.run.0, "{}", said(&entry));
        let written = self.record.append(self.run, entry.clone(), now()).await;
        self.whereabouts.note(self.run, &entry);
        written.map(drop).map_err(|error| JournalError(error.into()))
    }
}

impl RunJournal {
    /// Writes that the new instances have the requests, and with it what is live from now on.
    pub(super) async fn switched(&self, live: Live<'_>) -> Result<(), JournalError> {
        tracing::info!(run = self.run.0, "{}", said(&Entry::Switched));
        let written = self.record.switched(self.run, live, now()).await;
        written.map_err(|error| JournalError(error.into()))?;
        self.whereabouts.note(self.run, &Entry::Switched);
        Ok(())
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    Utc::now().timestamp_millis()
}

/// An entry in a line for people.
pub fn said(entry: &Entry) -> String {
    let seconds = |millis: &u64| *millis as f64 / 1000.0;
    match entry {
        Entry::Planned { summary } => format!("plan: {summary}"),
        Entry::Building { tag } => format!("building {tag}"),
        Entry::Built { tag, millis } => format!("built {tag} in {:.1} s", seconds(millis)),
        Entry::Step { number, of, services } => format!("step {number} of {of}: {}", services.join(", ")),
        Entry::BringingUp { name, order, .. } => format!("bringing up {name} ({order})"),
        Entry::Passed { name, millis, warning, .. } => {
            let warning = warning.as_ref().map(|text| format!(" – {text}")).unwrap_or_default();
            format!("{name} passed its gate after {:.2} s{warning}", seconds(millis))
        }
        Entry::Gap { service, millis, held } => {
            let waited = if *held { "; requests wait until the switch" } else { "" };
            format!("{service} did not answer for {:.1} s{waited}", seconds(millis))
        }
        Entry::Switching => "switching requests to the new instances".into(),
        Entry::Refreshing { service, target } => format!("{service} sees new content in {target}"),
        Entry::Switched => "live".into(),
        Entry::Draining { name, .. } => format!("{name} gets no new requests"),
        Entry::Cut { name, connections: 1, .. } => format!("{name}: 1 connection was still open and is cut"),
        Entry::Cut { name, connections, .. } => {
            format!("{name}: {connections} connections were still open and are cut")
        }
        Entry::Retired { name, .. } => format!("{name} is gone"),
        Entry::Reverting { reason } => format!("putting everything back: {reason}"),
        Entry::Note { text } => text.clone(),
        Entry::Ended { outcome } => format!("the run {}", outcome.word()),
    }
}
