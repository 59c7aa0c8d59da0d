//! Numbers for whoever watches from outside, in Prometheus' text format (version 0.0.4), and two lines for load
//! balancers and uptime checks. It is asked and never sends; what it counts itself begins at zero with the process, as
//! counters may.

mod answers;
mod events;
mod tally;
mod text;

use crate::inbox::Numbers;
use crate::overview::{Level, Report};
use crate::record::Target;

pub use answers::Answers;
pub use tally::{Ended, Tally};
pub use text::Text;

/// All that is told, at one moment. Times are milliseconds since the Unix epoch.
pub struct Facts<'a> {
    pub version: &'a str,
    pub report: &'a Report,
    /// Turns that came to their end since the start.
    pub turns: u64,
    /// When a run last made something live, as the record has it.
    pub succeeded_at: Option<i64>,
    pub tally: &'a Tally,
    pub answers: &'a Answers,
    /// Of Stripe's events, where they come in.
    pub events: Option<&'a Numbers>,
}

/// The exposition.
pub fn text(facts: &Facts<'_>) -> String {
    let report = facts.report;
    let mut out = Text::default();
    out.gauge("agent_build_info", "The program that answers.").set(&[("version", facts.version)], 1.0);
    situation(report, &mut out);
    let looked = out.gauge("agent_branch_looked_at_timestamp_seconds", "When the branch was last asked for.");
    report.looked_at.into_iter().for_each(|at| looked.set(&[], seconds(at)));
    let last = out.gauge("agent_last_success_timestamp_seconds", "When a run last made something live.");
    facts.succeeded_at.into_iter().for_each(|at| last.set(&[], seconds(at)));
    out.counter("agent_turns_total", "Turns of the loop, for whatever reason.").set(&[], facts.turns as f64);
    services(report, &mut out);
    facts.tally.write(&mut out);
    facts.answers.write(&mut out);
    if let Some(numbers) = facts.events {
        events::write(numbers, &mut out);
    }
    out.end()
}

fn situation(report: &Report, out: &mut Text) {
    let class = report.wrong.as_ref().and_then(|wrong| serde_json::to_value(wrong.class).ok());
    let class = class.as_ref().and_then(|class| class.as_str()).unwrap_or_default();
    let trouble = out.gauge("agent_trouble", "1 while something is wrong, by what it asks for.");
    for known in ["waiting", "stalled", "failed"] {
        trouble.set(&[("class", known)], truth(class == known));
    }
    let live = out.gauge("agent_live", "1 while a release is live, and which.");
    if let Some(running) = &report.live {
        let release = running.release.to_string();
        live.set(&[("release", &release), ("revision", &running.revision)], 1.0);
    }
    let pinned = matches!(report.target, Target::Pinned(_));
    out.gauge("agent_pinned", "1 while a person holds a release.").set(&[], truth(pinned));
    let down = matches!(report.target, Target::Down { .. });
    out.gauge("agent_down", "1 after a person took the stack down.").set(&[], truth(down));
    let held = report.held_back.is_some();
    out.gauge("agent_held_back", "1 while the newest revision may not run.").set(&[], truth(held));
    let running = report.doing.is_some();
    out.gauge("agent_run_in_progress", "1 while a run is under way.").set(&[], truth(running));
    out.gauge("agent_wake_pending", "1 while a wake waits for its turn.").set(&[], truth(report.pending));
    let drift = out.gauge("agent_drift", "Things a person changed by hand that are left as they are.");
    drift.set(&[], report.drift.len() as f64);
}

fn services(report: &Report, out: &mut Text) {
    let up = out.gauge("agent_engine_up", "1 while the engine answers.");
    up.set(&[], truth(report.engine_error.is_none()));
    let instances = out.gauge("agent_instances", "Containers of a service, by whether they are well.");
    let mut names: Vec<&str> = report.services.iter().map(|service| service.service.as_str()).collect();
    names.dedup();
    for name in names {
        for (word, level) in [("good", Level::Good), ("idle", Level::Idle), ("bad", Level::Bad)] {
            let alike = |one: &&crate::overview::ServiceState| {
                one.service == name && one.level == level && one.instance.is_some()
            };
            let count = report.services.iter().filter(alike).count();
            instances.set(&[("service", name), ("level", word)], count as f64);
        }
    }
}

/// Whether the agent does what it is for, and why not: what `/readyz` answers. What a person holds or holds back is as
/// it should be.
pub fn ready(report: &Report, turns: u64) -> Result<String, String> {
    if let Some(wrong) = &report.wrong {
        return Err(format!("wrong: {}", crate::overview::brief(&wrong.failure)));
    }
    if turns == 0 {
        return Err("the first look at the branch has not ended".to_owned());
    }
    let live = match (&report.target, &report.live) {
        (Target::Down { .. }, _) => "down, as a person asked".to_owned(),
        (Target::Back { release }, _) => format!("going back to release {release}"),
        (Target::Pinned(hold), _) => format!("release {} is held", hold.release),
        (Target::Branch, Some(live)) => format!("release {} is live", live.release),
        (Target::Branch, None) => "nothing is live yet".to_owned(),
    };
    let held =
        report.held_back.as_ref().map(|held| format!("; the newest revision is held back: {}", held.why));
    Ok(format!("{live}{}", held.unwrap_or_default()))
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests;
