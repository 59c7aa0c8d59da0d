//! The answer to "is it well?", and what keeps it from changing. Pure.

use serde::Serialize;

use crate::dashboard::steps::{Moment, Tone};
use crate::overview::time::Clock;
use crate::overview::{Level, Report, Wrong, short};
use crate::record::Target;

/// The answer to "is it well?".
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Head {
    word: String,
    tone: Tone,
}

#[derive(Debug, Serialize)]
pub(super) struct Held {
    text: String,
    until: &'static str,
    since: Option<Moment>,
}

/// A push that may not run now, though nothing is wrong with it.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    revision: String,
    subject: String,
    why: String,
    hint: Option<String>,
    since: Moment,
    /// When it is judged again by itself.
    again: Option<String>,
}

/// `dead`: deliveries of Stripe's events that nobody tries any more.
pub(super) fn head(report: &Report, dead: u32) -> Head {
    let unwell = report.services.iter().filter(|service| service.level == Level::Bad).count();
    let (word, tone) = match (&report.live, &report.target) {
        (None, Target::Down) => ("Down".to_owned(), Tone::Doubtful),
        (None, _) if report.doing.is_some() => ("Going live".to_owned(), Tone::Busy),
        (None, _) => ("Nothing is live yet".to_owned(), Tone::Doubtful),
        (Some(_), Target::Down) => ("Going down".to_owned(), Tone::Busy),
        (Some(_), _) if report.degraded.is_some() => ("Degraded".to_owned(), Tone::Bad),
        (Some(_), _) if report.paused.is_some() => ("Paused".to_owned(), Tone::Doubtful),
        (Some(_), _) if unwell == 1 => ("Live, but 1 container is not well".to_owned(), Tone::Bad),
        (Some(_), _) if unwell > 1 => (format!("Live, but {unwell} containers are not well"), Tone::Bad),
        (Some(live), Target::Pinned(hold)) if hold.release == live.release => {
            ("Live and held".to_owned(), Tone::Doubtful)
        }
        (Some(_), Target::Pinned(_) | Target::Back { .. }) => ("Going back".to_owned(), Tone::Busy),
        (Some(_), Target::Branch) if report.doing.is_some() => {
            ("Live, a change is on its way".to_owned(), Tone::Busy)
        }
        (Some(_), Target::Branch) => match &report.wrong {
            None if report.held_back.is_some() => ("Live, the newest push waits".to_owned(), Tone::Doubtful),
            None if dead > 0 => ("Live, with dead letters".to_owned(), Tone::Doubtful),
            None if report.watching.is_some() => ("Live and watched".to_owned(), Tone::Good),
            None => ("Live".to_owned(), Tone::Good),
            Some(Wrong { revision: Some(_), .. }) => {
                ("Live, the newest push is not".to_owned(), Tone::Doubtful)
            }
            Some(_) => ("Live, but something is wrong".to_owned(), Tone::Doubtful),
        },
    };
    Head { word, tone }
}

pub(super) fn held(report: &Report, clock: &Clock) -> Option<Held> {
    if let Some(pause) = &report.paused {
        return Some(Held {
            text: "A person paused the agent: nothing is deployed, healed or taken back.".to_owned(),
            until: if pause.until.is_some() {
                "the time is up, or somebody resumes"
            } else {
                "somebody resumes"
            },
            since: Some(Moment::new(clock, pause.since)),
        });
    }
    match &report.target {
        Target::Branch | Target::Back { .. } => None,
        Target::Down => Some(Held {
            text: "A person took the stack down. Its volumes are kept.".to_owned(),
            until: "somebody resumes",
            since: None,
        }),
        Target::Pinned(hold) => {
            let out = hold
                .denied
                .as_ref()
                .map(|denied| format!("; {} was rolled back and stays out", denied.short()));
            Some(Held {
                text: format!("Release {} is held{}.", hold.release, out.unwrap_or_default()),
                until: if hold.hold {
                    "somebody resumes"
                } else {
                    "the next new commit, or somebody resumes"
                },
                since: Some(Moment::new(clock, hold.since)),
            })
        }
    }
}

pub(super) fn waiting(report: &Report, clock: &Clock) -> Option<Waiting> {
    let back = report.held_back.as_ref()?;
    Some(Waiting {
        revision: short(&back.revision).to_owned(),
        subject: back.subject.clone(),
        why: back.why.clone(),
        hint: back.hint.clone(),
        since: Moment::new(clock, back.since),
        again: back.again_at.map(|at| clock.ago(at.max(clock.now))),
    })
}

/// What happens if the new release turns bad, while it is watched for that.
pub(super) fn watched(report: &Report, clock: &Clock) -> Option<String> {
    let watch = report.watching.as_ref()?;
    let until = clock.second(watch.until);
    Some(format!("Watched until {until}: if it goes bad, release {} comes back.", watch.back_to))
}
