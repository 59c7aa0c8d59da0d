//! The answer to "is it well?", and what keeps it from changing. Pure.

use serde::Serialize;

use crate::dashboard::steps::{Moment, Tone};
use crate::overview::time::Clock;
use crate::overview::{Level, Report, ServiceState, Wrong, short, way_back};
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
    // What the run in progress has brought up serves nobody until it has proved itself.
    let on_trial = |service: &ServiceState| match &report.doing {
        Some(run) => service.since == Some(run.started_at),
        None => false,
    };
    let bad = |service: &&ServiceState| service.level == Level::Bad && !on_trial(service);
    let unwell = report.services.iter().filter(bad).count();
    let (word, tone) = match (&report.live, &report.target) {
        (None, Target::Down { .. }) => ("Down".to_owned(), Tone::Doubtful),
        (None, _) if report.doing.is_some() => ("Going live".to_owned(), Tone::Busy),
        (None, _) => ("Nothing is live yet".to_owned(), Tone::Doubtful),
        (Some(_), Target::Down { .. }) => ("Going down".to_owned(), Tone::Busy),
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
    const RESUMED: &str = "until somebody resumes";
    if let Some(pause) = &report.paused {
        let until = pause.until.map(|until| format!("until {}, or {RESUMED}", clock.at(until)));
        let until = until.unwrap_or_else(|| RESUMED.to_owned());
        return Some(Held {
            text: format!("A person paused the agent: nothing is deployed, healed or taken back {until}."),
            since: Some(Moment::new(clock, pause.since)),
        });
    }
    match &report.target {
        Target::Branch | Target::Back { .. } => None,
        Target::Down { .. } => {
            let text = format!("A person took the stack down {RESUMED}. Its volumes are kept.");
            Some(Held { text, since: None })
        }
        Target::Pinned(hold) => {
            let until = match hold.hold {
                true => RESUMED.to_owned(),
                false => format!("until the next new commit, or {RESUMED}"),
            };
            let text = match &hold.denied {
                Some(out) => format!("{} was rolled back and stays out {until}.", out.short()),
                None => format!("Release {} is held {until}.", hold.release),
            };
            Some(Held { text, since: Some(Moment::new(clock, hold.since)) })
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
    Some(format!("Watched until {until}: {}.", way_back(watch)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::{Kind, ReleaseId, RunId, Status};
    use crate::overview::Live;
    use crate::record::Run;

    fn web(since: i64, level: Level) -> ServiceState {
        ServiceState {
            service: "web".into(),
            instance: Some(format!("shop-web-{since}")),
            level,
            state: String::new(),
            since: Some(since),
            revision: None,
            routes: Vec::new(),
        }
    }

    fn live(services: Vec<ServiceState>, run_since: Option<i64>) -> Report {
        let doing = run_since.map(|started_at| Run {
            id: RunId(2),
            kind: Kind::Deploy,
            revision: String::new(),
            subject: String::new(),
            reason: String::new(),
            started_at,
            ended_at: None,
            status: Status::Started,
            outcome: None,
            release: None,
        });
        let live =
            Live { release: ReleaseId(1), revision: String::new(), subject: String::new(), since: 100 };
        Report { live: Some(live), services, doing, ..Report::default() }
    }

    #[test]
    fn what_is_only_tried_does_not_make_what_runs_unwell() {
        let word = |services, run| head(&live(services, run), 0).word;
        let tried = || vec![web(100, Level::Good), web(200, Level::Bad)];
        assert_eq!(word(tried(), Some(200)), "Live, a change is on its way");
        assert_eq!(word(tried(), None), "Live, but 1 container is not well");
        assert_eq!(word(vec![web(100, Level::Bad)], Some(200)), "Live, but 1 container is not well");
    }

    #[test]
    fn dead_letters_are_part_of_the_answer() {
        let head = head(&live(vec![web(100, Level::Good)], None), 2);
        assert_eq!((head.word.as_str(), head.tone), ("Live, with dead letters", Tone::Doubtful));
    }
}
