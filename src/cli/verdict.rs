//! What came of an order, from what was seen when the loop came to rest. Pure.

use serde::Serialize;

use super::error::{Code, brief, plain_log};
use super::follow::Rest;
use super::time::took;
use super::width::short;
use crate::model::run::{Failure, Kind, Outcome};
use crate::reconcile::{HeldBack, Wrong};
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
    /// What was given up was to be mended; the tip was not asked for.
    pub(super) mending: bool,
}

impl Known {
    /// Only the tip is wrong, which was denied before and not asked for.
    fn is_beside(&self, wrong: &Wrong) -> bool {
        let denied = self.denial.as_ref().and_then(|denial| denial.why.failure());
        self.mending && denied == Some(&wrong.failure)
    }
}

pub(super) fn verdict(rest: Rest, known: Known) -> Verdict {
    let code = rest.wrong.as_ref().map_or(Code::Failed, |wrong| wrong.class.into());
    let outcome = rest.run.as_ref().and_then(|run| run.outcome.clone());
    let healed = rest.run.as_ref().is_some_and(|run| run.kind == Kind::Heal);
    let (result, said, failure) = match (outcome, rest.wrong) {
        // What was mended is what ran before: it says nothing for the revision that was asked for.
        (Some(Outcome::Succeeded), Some(wrong)) if healed && !known.is_beside(&wrong) => {
            (End::Failed, brief(&wrong.failure), Some(wrong.failure))
        }
        (Some(Outcome::Succeeded), wrong) => {
            (End::Live, live(rest.run.as_ref(), rest.switched_at, &known), wrong.map(|w| w.failure))
        }
        (Some(Outcome::Failed { reason }), _) => (End::Failed, brief(&reason), Some(reason)),
        (Some(Outcome::Interrupted), _) => {
            (End::Failed, "the agent was cut off in the middle; everything was put back".into(), None)
        }
        (None, Some(wrong)) if known.is_beside(&wrong) => {
            (End::Nothing, "nothing is left to mend".into(), Some(wrong.failure))
        }
        (_, Some(wrong)) => (End::Failed, brief(&wrong.failure), Some(wrong.failure)),
        (Some(Outcome::Superseded { by }), None) => {
            (End::Nothing, format!("something newer came in between: {}", short(&by)), None)
        }
        (Some(Outcome::Unchanged), None) => {
            let revision = rest.run.as_ref().map_or("", |run| short(&run.revision));
            (End::Nothing, format!("{revision} asks for nothing that does not already run"), None)
        }
        (None, None) => match rest.held_back {
            Some(held) => kept_back(held),
            None => idle(&known, rest.tip.as_deref()),
        },
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

/// A run was wanted and may not be now.
fn kept_back(held: HeldBack) -> (End, String, Option<Failure>) {
    let said = format!("{} is held back: {}", short(&held.revision), held.why);
    (End::Failed, said.clone(), Some(Failure { message: said, hint: held.hint, ..Failure::default() }))
}

/// No run was needed: why not.
fn idle(known: &Known, tip: Option<&str>) -> (End, String, Option<Failure>) {
    match (&known.target, &known.denial) {
        (Target::Down { .. }, _) => (End::Down, "the stack is down; its volumes are kept".into(), None),
        (Target::Pinned(hold), _) => {
            let text = format!("nothing to do: release {} is held until `agent resume`", hold.release);
            (End::Nothing, text, None)
        }
        (Target::Back { release }, _) => {
            (End::Nothing, format!("what turned bad gives way to release {release} first"), None)
        }
        (
            Target::Branch,
            Some(Denial { revision, why: Why::Stalled { failure } | Why::WentBad { failure }, .. }),
        ) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::class::Class;
    use crate::model::run::{ReleaseId, RunId, Status};
    use crate::record::Hold;

    fn failure(message: &str) -> Failure {
        Failure { service: Some("web".into()), message: message.into(), ..Failure::default() }
    }

    fn wrong(class: Class) -> Option<Wrong> {
        Some(Wrong { class, failure: failure("it broke"), since: 0, again_at: None })
    }

    fn rest(outcome: Option<Outcome>, wrong: Option<Wrong>) -> Rest {
        let run = outcome.map(|outcome| Run {
            id: RunId(7),
            kind: Kind::Deploy,
            revision: "a".repeat(40),
            subject: "Sell".into(),
            reason: "a person asked".into(),
            started_at: 1_000,
            ended_at: Some(9_000),
            status: Status::Ended,
            outcome: Some(outcome),
            release: None,
        });
        Rest { run, switched_at: Some(3_500), wrong, tip: Some("b".repeat(40)), held_back: None }
    }

    fn known(target: Target, why: Option<Why>) -> Known {
        let revision = "b".repeat(40).parse().unwrap();
        let denial = why.map(|why| Denial { revision, why, run: RunId(7), at: 0 });
        Known { target, current: None, denial, mending: false }
    }

    fn told(rest: Rest, known: Known) -> (End, Code, String) {
        let verdict = verdict(rest, known);
        (verdict.result, verdict.code, verdict.said)
    }

    #[test]
    fn a_run_that_succeeded_was_live_when_requests_were_switched() {
        let (result, code, said) = told(rest(Some(Outcome::Succeeded), None), known(Target::Branch, None));
        assert_eq!((result, code), (End::Live, Code::Good));
        assert_eq!(said, "live in 2.5 s: aaaaaaaaaa \"Sell\"");
        let also =
            verdict(rest(Some(Outcome::Succeeded), wrong(Class::Waiting)), known(Target::Branch, None));
        assert_eq!(also.code, Code::Good);
        assert!(text(&also).contains("web: it broke"), "what is wrong besides is not hidden");
    }

    #[test]
    fn what_failed_says_so_to_the_shell_too() {
        let failed = || Some(Outcome::Failed { reason: failure("it exited") });
        let branch = || known(Target::Branch, None);
        let stalled = told(rest(failed(), wrong(Class::Stalled)), branch());
        assert_eq!(stalled, (End::Failed, Code::Failed, "web: it exited".into()));
        assert_eq!(told(rest(failed(), wrong(Class::Waiting)), branch()).1, Code::Unreachable);
        assert_eq!(told(rest(None, wrong(Class::Waiting)), branch()).1, Code::Unreachable);
        assert_eq!(told(rest(Some(Outcome::Interrupted), None), branch()).1, Code::Failed);
    }

    #[test]
    fn mending_what_ran_before_makes_no_failed_push_good() {
        let mut healed = rest(Some(Outcome::Succeeded), wrong(Class::Stalled));
        healed.run.as_mut().unwrap().kind = Kind::Heal;
        let told = told(healed, known(Target::Branch, None));
        assert_eq!(told, (End::Failed, Code::Failed, "web: it broke".into()));
    }

    #[test]
    fn mending_what_was_given_up_does_not_fail_because_the_tip_is_denied() {
        let known = || {
            let why = Why::WentBad { failure: failure("it broke") };
            Known { mending: true, ..known(Target::Branch, Some(why)) }
        };
        let mut healed = rest(Some(Outcome::Succeeded), wrong(Class::Stalled));
        healed.run.as_mut().unwrap().kind = Kind::Heal;
        let mended = verdict(healed, known());
        assert_eq!((mended.result, mended.code, &*mended.said), (End::Live, Code::Good, "mended in 2.5 s"));
        assert!(text(&mended).contains("web: it broke"), "the tip still stays out");
        let by_hand = told(rest(None, wrong(Class::Stalled)), known());
        assert_eq!(by_hand, (End::Nothing, Code::Good, "nothing is left to mend".into()));
        let mut away = rest(None, wrong(Class::Waiting));
        away.wrong.as_mut().unwrap().failure = failure("no engine");
        assert_eq!(told(away, known()).1, Code::Unreachable);
    }

    #[test]
    fn a_tip_that_stays_out_is_no_success() {
        for why in [Why::Stalled { failure: failure("it exited") }, Why::RolledBack] {
            let verdict = verdict(rest(None, None), known(Target::Branch, Some(why)));
            assert_eq!((verdict.result, verdict.code), (End::Failed, Code::Failed));
            assert!(text(&verdict).contains("agent retry"), "{}", verdict.said);
        }
    }

    #[test]
    fn nothing_to_do_says_why() {
        let hold = Hold { release: ReleaseId(3), hold: true, denied: None, seen: None, since: 0 };
        let nothing = |outcome, target| told(rest(outcome, None), known(target, None));
        let said = [
            nothing(None, Target::Branch),
            nothing(None, Target::Pinned(hold)),
            nothing(Some(Outcome::Unchanged), Target::Branch),
            nothing(Some(Outcome::Superseded { by: "c".repeat(40) }), Target::Branch),
            nothing(None, Target::Down { then: None }),
        ];
        assert!(said.iter().all(|(_, code, _)| *code == Code::Good));
        assert_eq!(
            said.map(|(_, _, said)| said),
            [
                "nothing to do: bbbbbbbbbb is live",
                "nothing to do: release 3 is held until `agent resume`",
                "aaaaaaaaaa asks for nothing that does not already run",
                "something newer came in between: cccccccccc",
                "the stack is down; its volumes are kept",
            ]
        );
    }
}
