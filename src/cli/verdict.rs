//! What came of an order, from what was seen when the loop came to rest. Pure.

use serde::Serialize;

use super::error::{Code, brief, plain_log};
use super::follow::Rest;
use super::time::took;
use super::width::short;
use crate::model::run::{Failure, Kind, Outcome};
use crate::record::{Denial, Release, Run, Target, Why};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    Live,
    Nothing,
    Failed,
    Down,
}

/// The answer to an order.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) result: End,
    /// One line.
    pub(super) said: String,
    pub(super) failure: Option<Failure>,
    pub(super) run: Option<Run>,
    pub(super) release: Option<Release>,
    #[serde(skip)]
    pub(super) code: Code,
}

/// What the record holds besides.
pub(super) struct Known {
    pub(super) target: Target,
    pub(super) current: Option<Release>,
    /// Of the tip.
    pub(super) denial: Option<Denial>,
}

pub(super) fn verdict(rest: Rest, known: Known) -> Verdict {
    let code = rest.wrong.as_ref().map_or(Code::Failed, |wrong| wrong.class.into());
    let outcome = rest.run.as_ref().and_then(|run| run.outcome.clone());
    let (result, said, failure) = match (outcome, rest.wrong) {
        (Some(Outcome::Succeeded), wrong) => {
            (End::Live, live(rest.run.as_ref(), rest.switched_at, &known), wrong.map(|w| w.failure))
        }
        (Some(Outcome::Failed { reason }), _) => (End::Failed, brief(&reason), Some(reason)),
        (Some(Outcome::Interrupted), _) => {
            (End::Failed, "the agent was cut off in the middle; everything was put back".into(), None)
        }
        (_, Some(wrong)) => (End::Failed, brief(&wrong.failure), Some(wrong.failure)),
        (Some(Outcome::Superseded { by }), None) => {
            (End::Nothing, format!("something newer came in between: {}", short(&by)), None)
        }
        (Some(Outcome::Unchanged), None) => {
            let revision = rest.run.as_ref().map_or("", |run| short(&run.revision));
            (End::Nothing, format!("{revision} asks for nothing that does not already run"), None)
        }
        (None, None) => idle(&known, rest.tip.as_deref()),
    };
    let code = if result == End::Failed { code } else { Code::Good };
    Verdict { result, said, failure, run: rest.run, release: known.current, code }
}

fn live(run: Option<&Run>, switched_at: Option<i64>, known: &Known) -> String {
    let Some(run) = run else { return String::new() };
    let took = took(switched_at.or(run.ended_at).unwrap_or(run.started_at) - run.started_at);
    let release = known.current.as_ref().map(|release| release.id);
    match (run.kind, release) {
        (Kind::Heal, _) => format!("mended in {took}"),
        (_, Some(id)) => {
            format!("live in {took}: release {id}, {} {:?}", short(&run.revision), run.subject)
        }
        (_, None) => format!("live in {took}: {} {:?}", short(&run.revision), run.subject),
    }
}

/// No run was needed: why not.
fn idle(known: &Known, tip: Option<&str>) -> (End, String, Option<Failure>) {
    match (&known.target, &known.denial) {
        (Target::Down, _) => (End::Down, "the stack is down; its volumes are kept".into(), None),
        (Target::Pinned(hold), _) => {
            let text = format!("nothing to do: release {} is held until `agent resume`", hold.release);
            (End::Nothing, text, None)
        }
        (Target::Branch, Some(Denial { revision, why: Why::Stalled { failure }, .. })) => {
            let said = format!("{} failed before: {}", revision.short(), brief(failure));
            let hint = Some("push a commit that mends it, or try the same again: agent retry".into());
            (End::Failed, said, Some(Failure { hint, ..failure.clone() }))
        }
        (Target::Branch, Some(Denial { revision, why: Why::RolledBack, .. })) => {
            let said = format!("{} was rolled back and stays out", revision.short());
            let hint = Some("push a new commit, or try it again: agent retry".to_owned());
            (End::Failed, said.clone(), Some(Failure { message: said, hint, ..Failure::default() }))
        }
        (Target::Branch, None) => {
            let revision = tip.map_or("what the branch says", short);
            (End::Nothing, format!("nothing to do: {revision} is live"), None)
        }
    }
}

/// For people: the line, and after a failure its log and the mend.
pub(super) fn text(verdict: &Verdict) -> String {
    use owo_colors::OwoColorize;
    let mut text = match verdict.result {
        End::Live => verdict.said.green().bold().to_string(),
        End::Nothing | End::Down => verdict.said.clone(),
        End::Failed => format!("{} {}", "failed:".red().bold(), verdict.said),
    };
    let Some(failure) = &verdict.failure else { return text };
    if verdict.result != End::Failed {
        text.push_str(&format!("\n{} {}", "but:".yellow().bold(), brief(failure)));
    }
    for line in plain_log(failure).lines() {
        text.push_str(&format!("\n    {line}"));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("\n{} {hint}", "hint:".bold()));
    }
    text
}
