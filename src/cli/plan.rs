//! `agent plan` and `agent config`: what a deploy would do, and the stack it would do it to.

use owo_colors::OwoColorize;

use super::error::{CliError, Code};
use super::out::Out;
use super::progress::spinner;
use super::reach::Agent;
use crate::app::Preview;
use crate::config::Config;
use crate::plan::diff::Plan;

pub(super) async fn plan(config: Config, out: &Out) -> Result<Code, CliError> {
    let agent = Agent::reach(config).await?;
    let spinner = spinner(out);
    if let Some(spinner) = &spinner {
        spinner.set_message("looking at the branch");
    }
    let preview = agent.plan().await;
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    out.answer(&preview?, text)?;
    Ok(Code::Good)
}

pub(super) async fn config(config: Config, out: &Out) -> Result<Code, CliError> {
    let rendered = Agent::reach(config).await?.config().await?;
    out.answer(&rendered, |rendered| format!("{rendered:#}"))?;
    Ok(Code::Good)
}

pub(super) fn text(preview: &Preview) -> String {
    let Preview { plan, subject, warnings, gaps, rolling } = preview;
    let mut lines = vec![format!("{} {subject:?}", plan.revision.short().bold())];
    lines.extend(warnings.iter().map(|warning| format!("{} {warning}", "!".yellow().bold())));
    lines.push(String::new());
    lines.extend(steps(plan));
    for (service, millis) in gaps {
        let seconds = *millis as f64 / 1000.0;
        lines.push(format!(
            "  {}     {service} will not answer for a moment: {seconds:.1} s the last time",
            "gap".yellow()
        ));
    }
    if *rolling && plan.rolls.len() > 1 {
        lines.push(format!("  {}   one service after another", "order".dimmed()));
    }
    lines.push(String::new());
    lines.push(summary(plan));
    lines.join("\n")
}

/// Every step with its reason, a step a line, with a second one for the order of a roll.
pub(super) fn steps(plan: &Plan) -> Vec<String> {
    let removed = plan.removals.iter().map(|removal| &removal.service);
    let refreshed = plan.refreshes.iter().map(|refresh| &refresh.service);
    let names = plan.rolls.iter().map(|roll| &roll.service).chain(removed).chain(refreshed);
    let widest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for build in &plan.builds {
        lines.push(format!("  {}   {} for {}", "build".cyan(), build.tag, build.services.join(", ")));
    }
    for roll in &plan.rolls {
        lines.push(format!("  {}    {:widest$}  {}", "roll".green(), roll.service, roll.reason));
        let order = format!("{}: {}", roll.order, roll.order_reason);
        lines.push(format!("          {:widest$}  {}", "", order.dimmed()));
    }
    for refresh in &plan.refreshes {
        let told = refresh.what.signal.as_ref().map_or("its instances stay".to_owned(), |signal| {
            format!("its instances stay and get a {signal} signal")
        });
        let line = format!("new content in {}: {told}", refresh.what.target);
        lines.push(format!("  {} {:widest$}  {line}", "refresh".green(), refresh.service));
    }
    for removal in &plan.removals {
        lines.push(format!("  {}  {:widest$}  {}", "remove".red(), removal.service, removal.reason));
    }
    if !plan.unchanged.is_empty() {
        lines.push(format!("  {}    {}", "keep".dimmed(), plan.unchanged.join(", ")));
    }
    lines.extend(plan.drift.iter().map(|what| format!("  {}   {what} (left as it is)", "drift".yellow())));
    lines
}

fn summary(plan: &Plan) -> String {
    if plan.is_empty() {
        return "nothing to do".to_owned();
    }
    let (builds, rolls, removals) = (plan.builds.len(), plan.rolls.len(), plan.removals.len());
    let unchanged = plan.unchanged.len();
    let refreshes = match plan.refreshes.len() {
        0 => String::new(),
        some => format!("{some} to refresh, "),
    };
    format!("{builds} to build, {rolls} to roll, {refreshes}{removals} to remove, {unchanged} unchanged")
}
