//! `agent stripe events`: a line for every event, newest first.

use comfy_table::{Cell, Color, ContentArrangement};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::super::args::stripe as args;
use super::super::error::{CliError, Code};
use super::super::out::Out;
use super::super::time::Clock;
use super::super::width::{columns, rendered, table};
use crate::app;
use crate::config::Config;
use crate::inbox::{Backlog, Delivery, Event, Filter, State};
use crate::store;

#[derive(Serialize)]
pub(in super::super) struct Events {
    pub(in super::super) events: Vec<Event>,
    /// What is left to do, by destination.
    pub(in super::super) backlog: Vec<Backlog>,
}

pub(super) async fn events(config: &Config, asked: args::Events, out: &Out) -> Result<Code, CliError> {
    let filter = Filter {
        kind: asked.kind,
        endpoint: asked.endpoint,
        destination: asked.to,
        state: asked.state.map(State::from),
        after: asked.since.map(|moment| moment.0),
        before: None,
        limit: asked.lines,
    };
    let (events, backlog) = match app::events(config) {
        Ok(reader) => (reader.events(filter).await?, reader.backlog().await?),
        // Nothing has happened yet.
        Err(store::Error::Missing { .. }) => (Vec::new(), Vec::new()),
        Err(error) => return Err(error.into()),
    };
    out.answer(&Events { events, backlog }, |answer| {
        text(&answer.events, &answer.backlog, &Clock::local(), columns())
    })?;
    Ok(Code::Good)
}

pub(in super::super) fn text(events: &[Event], backlog: &[Backlog], clock: &Clock, columns: usize) -> String {
    let mut lines = Vec::new();
    if events.is_empty() {
        lines.push("no event".to_owned());
    } else {
        lines.push(listed(events, clock, columns));
    }
    let left: Vec<String> = backlog.iter().map(|left| left_over(left, clock)).collect();
    if !left.is_empty() {
        lines.push(String::new());
        lines.extend(left);
    }
    lines.join("\n")
}

/// A line is an event: nothing wraps. Where its deliveries have no room there, they stand below it.
fn listed(events: &[Event], clock: &Clock, columns: usize) -> String {
    let told = |beside: bool| {
        let mut table = table(columns);
        table.set_content_arrangement(ContentArrangement::Disabled);
        let header = ["WHEN", "TYPE", "EVENT", "DELIVERIES"];
        table.set_header(header[..if beside { 4 } else { 3 }].to_vec());
        for event in events {
            let mut row =
                vec![Cell::new(clock.at(event.received)), Cell::new(&event.kind), Cell::new(&event.id)];
            let deliveries = Cell::new(deliveries(&event.deliveries)).fg(colour(&event.deliveries));
            row.extend(beside.then_some(deliveries));
            table.add_row(row);
        }
        rendered(table)
    };
    let whole = told(true);
    let width = |line: &str| anstream::adapter::strip_str(line).to_string().chars().count();
    if whole.lines().all(|line| width(line) <= columns) {
        return whole;
    }
    let names = told(false);
    let mut lines: Vec<String> = names.lines().take(1).map(str::to_owned).collect();
    for (event, line) in events.iter().zip(names.lines().skip(1)) {
        lines.push(line.to_owned());
        let text = deliveries(&event.deliveries);
        lines.push(match colour(&event.deliveries) {
            Color::Red => format!("       {}", text.red()),
            Color::Yellow => format!("       {}", text.yellow()),
            _ => format!("       {}", text.green()),
        });
    }
    lines.join("\n")
}

fn deliveries(deliveries: &[Delivery]) -> String {
    if deliveries.is_empty() {
        return "nobody wants it".to_owned();
    }
    let one = |delivery: &Delivery| match (delivery.state, delivery.attempts) {
        (State::Delivered, 0 | 1) => delivery.destination.clone(),
        (State::Delivered, attempts) => format!("{} (attempt {attempts})", delivery.destination),
        (state, 0) => format!("{} {}", delivery.destination, state.word()),
        (state, attempts) => format!("{} {} ({attempts} attempts)", delivery.destination, state.word()),
    };
    deliveries.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn colour(deliveries: &[Delivery]) -> Color {
    let any = |state| deliveries.iter().any(|delivery| delivery.state == state);
    match () {
        () if any(State::Dead) => Color::Red,
        () if any(State::Pending) || deliveries.is_empty() => Color::Yellow,
        () => Color::Green,
    }
}

fn left_over(left: &Backlog, clock: &Clock) -> String {
    let mut parts = Vec::new();
    if left.pending > 0 {
        let since = left.oldest.map(|oldest| format!(", the oldest came {}", clock.ago(oldest)));
        parts.push(format!("{} pending{}", left.pending, since.unwrap_or_default()));
    }
    if left.dead > 0 {
        let destination = &left.destination;
        parts.push(format!("{} dead (agent stripe resend --dead --to {destination})", left.dead));
    }
    format!("{}: {}", left.destination, parts.join("; "))
}
