//! `agent history`: the runs, newest first, so that the column of outcomes tells the story.

use comfy_table::{Cell, Color};
use serde::Serialize;

use super::args;
use super::error::{CliError, Code, brief};
use super::out::Out;
use super::time::{Clock, took};
use super::width::{columns, cut, rendered, short, table};
use crate::app;
use crate::config::Config;
use crate::model::run::Outcome;
use crate::record::Run;
use crate::store;

/// All columns but the subject's, with their gaps.
const TAKEN: usize = 64;

#[derive(Serialize)]
struct Runs {
    runs: Vec<Run>,
}

pub(super) async fn history(config: &Config, asked: &args::History, out: &Out) -> Result<Code, CliError> {
    let runs = match app::lookup(config) {
        Ok(record) => record.runs(asked.lines).await?,
        // Nothing has happened yet.
        Err(store::Error::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    out.answer(&Runs { runs }, |answer| text(&answer.runs, &Clock::local(), columns()))?;
    Ok(Code::Good)
}

pub(super) fn text(runs: &[Run], clock: &Clock, columns: usize) -> String {
    if runs.is_empty() {
        return "no run yet".to_owned();
    }
    let room = columns.saturating_sub(TAKEN).max(16);
    let mut table = table(columns);
    table.set_header(["RUN", "WHEN", "KIND", "REVISION", "SUBJECT", "OUTCOME", "TOOK"]);
    for run in runs {
        let (outcome, colour) = outcome(run);
        let mut subject = cut(&run.subject, room);
        if let Some(reason) = reason(run) {
            subject.push('\n');
            subject.push_str(&cut(&reason, room));
        }
        table.add_row([
            Cell::new(run.id),
            Cell::new(clock.at(run.started_at)),
            Cell::new(run.kind),
            Cell::new(short(&run.revision)),
            Cell::new(subject),
            Cell::new(outcome).fg(colour),
            Cell::new(run.ended_at.map(|end| took(end - run.started_at)).unwrap_or_default()),
        ]);
    }
    rendered(table)
}

fn outcome(run: &Run) -> (&'static str, Color) {
    let Some(outcome) = &run.outcome else { return ("in progress", Color::Cyan) };
    let colour = match outcome {
        Outcome::Succeeded => Color::Green,
        Outcome::Failed { .. } => Color::Red,
        Outcome::Interrupted | Outcome::Superseded { .. } => Color::Yellow,
        Outcome::Unchanged => Color::Reset,
    };
    (outcome.word(), colour)
}

/// Why it did not succeed.
fn reason(run: &Run) -> Option<String> {
    match run.outcome.as_ref()? {
        Outcome::Failed { reason } => Some(brief(reason)),
        Outcome::Superseded { by } => Some(format!("by {}", short(by))),
        _ => None,
    }
}
