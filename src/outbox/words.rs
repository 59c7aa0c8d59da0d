//! News in a line for people, in the words of `agent status`. Pure.

use super::news::{News, Told, What};
use crate::model::run::{Kind, Outcome};
use crate::overview::{brief, short};

/// One line, the stack's name first.
pub(super) fn line(news: &News) -> String {
    format!("{}: {}", news.stack, said(news))
}

/// The same without the stack.
pub(super) fn said(news: &News) -> String {
    match &news.what {
        What::Begun { run } => format!("run {} begins: {} {}", run.id, run.kind, named(run)),
        What::Ended { run, outcome, millis, recovers, again, release, denied } => {
            let release = release.map(|id| format!("release {id}, ")).unwrap_or_default();
            let denied = denied.as_deref().map(|revision| format!("; {} stays out", short(revision)));
            let denied = denied.unwrap_or_default();
            match (outcome, run.kind) {
                (Outcome::Succeeded, Kind::Rollback | Kind::Revert) => {
                    let words = if *again { "live again:" } else { "went back to" };
                    format!("{words} {release}{}{denied}", named(run))
                }
                (Outcome::Succeeded, Kind::Heal) => format!("mended in {}", took(*millis)),
                (Outcome::Succeeded, Kind::Deploy) => {
                    let word = if *recovers { "live again" } else { "live" };
                    format!("{word} after {}: {release}{}", took(*millis), named(run))
                }
                (Outcome::Unchanged, _) => {
                    format!("{} asks for nothing that does not already run", named(run))
                }
                (Outcome::Failed { reason }, Kind::Deploy) => {
                    format!("{} failed: {}. What ran before goes on", named(run), brief(reason))
                }
                (Outcome::Failed { reason }, kind) => format!("{kind} failed: {}", brief(reason)),
                (Outcome::Superseded { by }, _) if !by.is_empty() => {
                    format!("{} gave way to {}", named(run), short(by))
                }
                (other, _) => format!("{}: the run {}", named(run), other.word()),
            }
        }
        What::HeldBack { revision, subject, why } => {
            format!("{} \"{subject}\" is held back: {why}", short(revision))
        }
        What::Trouble { message, hint: Some(hint) } => format!("{message} (hint: {hint})"),
        What::Trouble { message, hint: None } => message.clone(),
        What::DeadLetters { count: 1 } => {
            "a delivery of a Stripe event is dead: agent stripe events --state dead".to_owned()
        }
        What::DeadLetters { count } => {
            format!("{count} deliveries of Stripe events are dead: agent stripe events --state dead")
        }
        What::Recovered { message, millis, .. } => format!("over after {}: {message}", took(*millis)),
    }
}

fn named(run: &Told) -> String {
    format!("{} \"{}\"", short(&run.revision), run.subject)
}

/// A length of time in the unit that fits.
fn took(millis: i64) -> String {
    let seconds = millis.max(0) as f64 / 1000.0;
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", s as i64 / 60, s as i64 % 60),
        s => format!("{} h {} min", s as i64 / 3600, s as i64 % 3600 / 60),
    }
}

/// At most `most` characters, with a mark where something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}
