//! The status for a person with a phone at three in the morning: the first two lines say it all. Pure.

use comfy_table::{Cell, Color};
use owo_colors::OwoColorize;

use crate::cli::error::{brief, plain_log};
use crate::cli::time::Clock;
use crate::cli::width::{cut, fitted, short};
use crate::overview::{Daemon, Events, Level, Live, Report, ServiceState, Wrong, way_back};
use crate::reconcile::HeldBack;
use crate::record::Target;

/// The last lines of a log that are shown; `agent show` has them all.
const LOG_LINES: usize = 8;

pub(in crate::cli) fn text(report: &Report, clock: &Clock, columns: usize) -> String {
    let mut lines = vec![first(report, clock, columns)];
    // What a person decided stands before what failed earlier and may have been the reason for it.
    lines.extend(held(report, clock));
    if let Some(wrong) = &report.wrong {
        lines.extend(trouble(wrong, clock, columns));
    }
    lines.extend(by_itself(report, clock));
    lines.extend(report.held_back.iter().flat_map(|held| held_back(held, clock, columns)));
    lines.extend(waiting(report, clock));
    lines.extend(report.drift.iter().map(|what| format!("{} {what} (left as it is)", "~".yellow())));
    lines.extend(report.events.as_ref().and_then(|events| of_stripe(events, clock)));
    if !report.services.is_empty() {
        lines.push(String::new());
        lines.push(services(&report.services, clock, columns));
    }
    lines.push(String::new());
    if let Some(error) = &report.engine_error {
        lines.push(format!("{} {error}", "engine:".red()));
    }
    lines.push(daemon(report, clock));
    lines.join("\n")
}

fn first(report: &Report, clock: &Clock, columns: usize) -> String {
    let stack = report.stack.bold();
    let Some(Live { release, revision, subject, since }) = &report.live else {
        return match report.target {
            Target::Down { .. } => format!("{stack}  {}", "down".yellow().bold()),
            _ => format!("{stack}  {}", "nothing is live yet".yellow().bold()),
        };
    };
    let word = match &report.target {
        _ if report.degraded.is_some() => "degraded".red().bold().to_string(),
        _ if report.paused.is_some() => "paused".yellow().bold().to_string(),
        Target::Pinned(hold) if hold.release == *release => "held".yellow().bold().to_string(),
        Target::Down { .. } => "going down".yellow().bold().to_string(),
        _ => "live".green().bold().to_string(),
    };
    let revision = short(revision);
    let tail = format!("release {release}, since {} ({})", clock.at(*since), clock.ago(*since));
    // Four gaps of two blanks, and two quotes.
    let word_length = anstream::adapter::strip_str(&word).to_string().len();
    let taken = report.stack.chars().count() + word_length + revision.len() + tail.chars().count() + 9;
    let subject = cut(subject, columns.saturating_sub(taken).max(8));
    format!("{stack}  {word}  {revision} \"{subject}\"  {}", tail.dimmed())
}

fn trouble(wrong: &Wrong, clock: &Clock, columns: usize) -> Vec<String> {
    let what = match &wrong.revision {
        Some(revision) if wrong.went_bad => format!("{}: ", short(revision)),
        Some(revision) => format!("{} failed: ", short(revision)),
        None => String::new(),
    };
    let said = format!("{what}{}", brief(&wrong.failure));
    let mut lines = vec![format!("{} {}", "!".red().bold(), said.red())];
    let again = wrong.again_at.map(|at| format!("tried again {}", clock.ago(at.max(clock.now))));
    let since = format!("since {} ({})", clock.at(wrong.since), clock.ago(wrong.since));
    let story = wrong.run.map(|run| format!("agent show {run}"));
    let facts: Vec<String> = [Some(since), again, story].into_iter().flatten().collect();
    lines.push(format!("  {}", facts.join("; ").dimmed()));
    if let Some(hint) = &wrong.failure.hint {
        lines.push(format!("  {} {hint}", "hint:".bold()));
    }
    let log = plain_log(&wrong.failure);
    let last: Vec<&str> = log.lines().collect();
    let shown = &last[last.len().saturating_sub(LOG_LINES)..];
    lines.extend(shown.iter().map(|line| format!("    {}", cut(line, columns.saturating_sub(4)))));
    lines
}

/// What the agent will do, or not do, without being asked.
fn by_itself(report: &Report, clock: &Clock) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(pause) = &report.paused {
        let until = pause.until.map_or_else(String::new, |until| format!("{} or ", clock.at(until)));
        let since = clock.at(pause.since);
        lines.push(format!("  paused at {since} until {until}`agent resume`: nothing is deployed or healed"));
    }
    if let Some(watch) = &report.watching {
        let until = clock.second(watch.until);
        let back = way_back(watch);
        lines.push(match report.daemon {
            Daemon::Down => format!("  to be watched until {until}, but the agent is not running"),
            _ => format!("  watching until {until}: {back}"),
        });
    }
    lines
}

fn held(report: &Report, clock: &Clock) -> Vec<String> {
    match &report.target {
        Target::Branch => Vec::new(),
        Target::Back { release } => vec![format!("  going back to release {release}")],
        Target::Down { .. } => vec!["  a person took it down; agent resume brings it back".to_owned()],
        Target::Pinned(hold) => {
            let mut lines = Vec::new();
            if report.live.as_ref().is_none_or(|live| live.release != hold.release) {
                lines.push(format!("  going back to release {}", hold.release));
            }
            if let Some(denied) = &hold.denied {
                let at = clock.at(hold.since);
                lines.push(format!("  {} was rolled back at {at} and stays out", denied.short()));
            }
            let until = if hold.hold { "`agent resume`" } else { "the next new commit or `agent resume`" };
            lines.push(format!("  release {} is held until {until}", hold.release));
            lines
        }
    }
}

/// A tip that may not run now: why, and what brings the next answer.
fn held_back(held: &HeldBack, clock: &Clock, columns: usize) -> Vec<String> {
    let revision = short(&held.revision);
    let subject = cut(&held.subject, columns.saturating_sub(revision.len() + 19).max(8));
    let next = match held.again_at {
        Some(at) => format!("looked at again {}", clock.ago(at.max(clock.now))),
        None => "until something new is pushed".to_owned(),
    };
    let mut lines = vec![
        format!("{} {revision} \"{subject}\" is held back:", "~".yellow().bold()),
        format!("  {}", held.why),
        format!(
            "  {}",
            format!("since {} ({}); {next}", clock.at(held.since), clock.ago(held.since)).dimmed()
        ),
    ];
    lines.extend(held.hint.iter().map(|hint| format!("  {} {hint}", "hint:".bold())));
    lines
}

fn waiting(report: &Report, clock: &Clock) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(run) = &report.doing {
        let state = if matches!(report.daemon, Daemon::Running { .. }) {
            run.status.to_string()
        } else {
            "cut off; the next start brings it to its end".to_owned()
        };
        let (kind, revision, since) = (run.kind, short(&run.revision), clock.ago(run.started_at));
        lines.push(format!(
            "{} run {}: {kind} {revision}, begun {since}: {state}",
            "*".cyan().bold(),
            run.id
        ));
    }
    if let (None, Some(turn)) = (&report.doing, &report.turn) {
        lines.push(format!("{} at work since {}: {}", "*".cyan().bold(), clock.at(turn.since), turn.why));
    }
    if report.pending {
        lines.push(format!("{} more to look at when the run in progress ends", "*".cyan().bold()));
    }
    lines
}

/// What is left to do of Stripe's events, if anything is.
fn of_stripe(events: &Events, clock: &Clock) -> Option<String> {
    let oldest = events.oldest.map(|at| format!(", the oldest received {}", clock.ago(at)));
    let pending = format!("{} to be delivered{}", events.pending, oldest.unwrap_or_default());
    match (events.pending, events.dead) {
        (0, 0) => None,
        (_, 0) => Some(format!("{} Stripe events: {pending}", "*".cyan().bold())),
        (_, dead) => {
            let dead = format!("{dead} dead").red().to_string();
            let pending = if events.pending == 0 { String::new() } else { format!("; {pending}") };
            let list = "agent stripe events --state dead";
            Some(format!("{} Stripe events: {dead} ({list}){pending}", "!".red().bold()))
        }
    }
}

fn services(services: &[ServiceState], clock: &Clock, columns: usize) -> String {
    let row = |service: &ServiceState| {
        let state = Cell::new(&service.state).fg(match service.level {
            Level::Good => Color::Green,
            Level::Idle => Color::Yellow,
            Level::Bad => Color::Red,
        });
        vec![
            Cell::new(&service.service),
            Cell::new(service.instance.as_deref().unwrap_or("-")),
            state,
            Cell::new(service.since.map_or_else(|| "-".to_owned(), |since| clock.roughly(since))),
            Cell::new(service.routes.join("\n")),
        ]
    };
    let rows: Vec<_> = services.iter().map(row).collect();
    fitted(columns, &["SERVICE", "CONTAINER", "STATE", "SINCE", "ROUTE"], &rows)
}

fn daemon(report: &Report, clock: &Clock) -> String {
    match &report.daemon {
        Daemon::Running { pid, version } => {
            let looked = report.looked_at.map(|at| format!("; looked at the branch {}", clock.ago(at)));
            let looked = looked.unwrap_or_default();
            format!("agent {version} runs (pid {pid}){looked}").dimmed().to_string()
        }
        Daemon::Silent { error } => format!("{} {error}", "agent:".red()),
        Daemon::Down => {
            "agent: not running; the apps go on without it (systemctl start agent)".yellow().to_string()
        }
    }
}
