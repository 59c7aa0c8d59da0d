//! `agent history`: the runs, newest first, so that the column of outcomes tells the story.

use comfy_table::{Cell, Color, ContentArrangement};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::args;
use super::error::{CliError, Code};
use super::out::Out;
use super::time::{Clock, took};
use super::width::{columns, cut, rendered, short, table};
use crate::app;
use crate::config::Config;
use crate::model::run::Outcome;
use crate::overview::{ended, outcome};
use crate::record::{Release, Run};
use crate::store;

const SUBJECT: &str = "SUBJECT";
const OUTCOME: &str = "OUTCOME";
const HEADER: [&str; 7] = ["RUN", "WHEN", "KIND", "REVISION", SUBJECT, OUTCOME, "TOOK"];

#[derive(Serialize)]
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    /// Those that are kept, newest first: what `agent rollback` can go back to.
    pub(super) releases: Vec<Release>,
}

pub(super) async fn history(config: &Config, asked: &args::History, out: &Out) -> Result<Code, CliError> {
    let (runs, releases) = match app::lookup(config) {
        Ok(record) => (record.runs(asked.lines).await?, record.releases().await?),
        // Nothing has happened yet.
        Err(store::Error::Missing { .. }) => (Vec::new(), Vec::new()),
        Err(error) => return Err(error.into()),
    };
    out.answer(&Runs { runs, releases }, |answer| {
        text(&answer.runs, &answer.releases, &Clock::local(), columns())
    })?;
    Ok(Code::Good)
}

pub(super) fn text(runs: &[Run], releases: &[Release], clock: &Clock, columns: usize) -> String {
    if runs.is_empty() {
        return "no run yet".to_owned();
    }
    let rows: Vec<[String; 7]> = runs.iter().map(|run| row(run, releases, clock)).collect();
    let room = columns.saturating_sub(taken(&rows)).max(SUBJECT.len());
    let mut table = table(columns);
    // A line is a run: nothing may wrap.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for (run, row) in runs.iter().zip(rows) {
        let cells = row.into_iter().zip(HEADER).map(|(text, header)| match header {
            SUBJECT => Cell::new(cut(&text, room)),
            OUTCOME => Cell::new(text).fg(colour(run)),
            _ => Cell::new(text),
        });
        table.add_row(cells);
    }
    let rendered = rendered(table);
    let mut lines = rendered.lines().map(str::to_owned);
    let mut told: Vec<String> = lines.next().into_iter().collect();
    for (run, line) in runs.iter().zip(lines) {
        told.push(line);
        told.extend(
            ended(run).map(|reason| format!("     {}", cut(&reason, columns.saturating_sub(5)).dimmed())),
        );
    }
    told.join("\n")
}

fn row(run: &Run, releases: &[Release], clock: &Clock) -> [String; 7] {
    [
        run.id.to_string(),
        clock.at(run.started_at),
        run.kind.to_string(),
        short(&run.revision).to_owned(),
        run.subject.clone(),
        outcome(run, releases),
        run.ended_at.map(|end| took(end - run.started_at)).unwrap_or_default(),
    ]
}

/// What all columns but the subject's take, with the gap after each.
fn taken(rows: &[[String; 7]]) -> usize {
    let widest = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([HEADER[index].len()]).max().unwrap_or(0) + 2
    };
    (0..HEADER.len()).filter(|index| HEADER[*index] != SUBJECT).map(widest).sum()
}

fn colour(run: &Run) -> Color {
    match &run.outcome {
        None => Color::Cyan,
        Some(Outcome::Succeeded) => Color::Green,
        Some(Outcome::Failed { .. }) => Color::Red,
        Some(Outcome::Interrupted | Outcome::Superseded { .. }) => Color::Yellow,
        Some(Outcome::Unchanged) => Color::Reset,
    }
}
