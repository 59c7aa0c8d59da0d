//! `agent stripe show`: one event's story.

use owo_colors::OwoColorize;

use super::super::args::stripe::ShowEvent;
use super::super::error::{CliError, Code};
use super::super::out::Out;
use super::super::time::Clock;
use crate::app;
use crate::config::Config;
use crate::inbox::{Attempt, Delivery, State, Story};

pub(super) async fn show(config: &Config, asked: ShowEvent, out: &Out) -> Result<Code, CliError> {
    let story = app::events(config)?.story(asked.event.clone(), asked.endpoint).await?;
    let story = story.ok_or_else(|| CliError::Usage {
        message: format!("there is no event {}", asked.event),
        hint: Some("agent stripe events lists them".into()),
    })?;
    out.answer(&story, |story| text(story, &Clock::local()))?;
    Ok(Code::Good)
}

pub(in super::super) fn text(story: &Story, clock: &Clock) -> String {
    let event = &story.event;
    let mut lines =
        vec![format!("{} {}", event.id.bold(), event.kind), received(story, clock).dimmed().to_string()];
    if event.deliveries.is_empty() {
        lines.extend([String::new(), "nobody wants it".to_owned()]);
    }
    for delivery in &event.deliveries {
        lines.extend([String::new(), fate(delivery, clock)]);
        let attempts = story.attempts.iter().filter(|attempt| attempt.delivery == delivery.number);
        lines.extend(attempts.map(|attempt| tried(attempt, clock)));
    }
    lines.extend([String::new(), plain(&story.body)]);
    lines.join("\n")
}

fn received(story: &Story, clock: &Clock) -> String {
    let event = &story.event;
    let mut parts = vec![format!("came {} to endpoint {}", clock.at(event.received), event.endpoint)];
    parts.extend(story.client.as_ref().map(|client| format!("from {client}")));
    parts.extend(event.account.as_ref().map(|account| format!("for {account}")));
    parts.extend(event.object.as_ref().map(|object| format!("about {object}")));
    parts.extend((event.repeats > 0).then(|| format!("and again {} times", event.repeats)));
    parts.extend(event.simulated.then(|| "simulated".to_owned()));
    parts.join(", ")
}

fn fate(delivery: &Delivery, clock: &Clock) -> String {
    let name = delivery.destination.bold();
    match delivery.state {
        State::Delivered => format!("{name}: {}", "delivered".green()),
        State::Dead => format!("{name}: {} after {} attempts", "dead".red(), delivery.attempts),
        State::Discarded => format!("{name}: discarded"),
        State::Pending if delivery.due > clock.now => {
            format!("{name}: {}, next attempt {}", "pending".yellow(), clock.ago(delivery.due))
        }
        State::Pending => format!("{name}: {}, as soon as the service can be asked", "pending".yellow()),
    }
}

fn tried(attempt: &Attempt, clock: &Clock) -> String {
    let what = match (attempt.status, &attempt.trouble) {
        (Some(status), _) => format!("[{status}]"),
        (None, Some(trouble)) => trouble.clone(),
        (None, None) => "no answer".to_owned(),
    };
    let answer: String = plain(&attempt.answer).split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = answer.chars().take(200).collect();
    // The first attempts are seconds apart, the last ones half a day.
    let when = (clock.wall)(attempt.at).format("%-d %b %H:%M:%S");
    let line = format!("  {when}  {what}  {} ms  POST {}", attempt.took, attempt.url);
    if said.is_empty() { line } else { format!("{line}\n    {}", said.dimmed()) }
}

/// Without what would recolour or rewrite a person's terminal: both texts came over the network.
fn plain(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
