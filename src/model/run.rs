//! A run: one application of one plan. Its log is append-only; its status is a checked fold over it.
//!
//! Intent is written before the act, so that after a crash the log says what may have happened, never less.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Runs count up from 1 within a state folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Releases count up from 1 within a state folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub i64);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A revision of the branch is made live.
    Deploy,
    /// An earlier release is restored.
    Rollback,
    /// A release that turned bad gives way to the one before.
    Revert,
    /// The current release is mended.
    Heal,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Revert => "revert",
            Self::Heal => "heal",
        })
    }
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// The plan is made; `summary` says it in a line.
    Planned {
        summary: String,
    },
    Building {
        tag: String,
    },
    Built {
        tag: String,
        millis: u64,
    },
    /// A plan that is carried out one service after another: its next part begins.
    Step {
        number: usize,
        of: usize,
        services: Vec<String>,
    },
    /// From here on containers are touched.
    BringingUp {
        service: String,
        name: String,
        order: String,
    },
    Passed {
        service: String,
        name: String,
        millis: u64,
        warning: Option<String>,
    },
    /// A service that stops first: for so long none of its instances answered. `held`: requests waited for the new one.
    Gap {
        service: String,
        millis: u64,
        #[serde(default)]
        held: bool,
    },
    /// Requests are about to go to the new instances.
    Switching,
    /// Running instances are about to see new content in a mounted folder.
    Refreshing {
        service: String,
        /// The path in the container.
        target: String,
    },
    /// They do: the release is live, whatever happens to the old instances.
    Switched,
    Draining {
        service: String,
        name: String,
    },
    /// Patience with an old instance ended before what was open to it.
    Cut {
        service: String,
        name: String,
        connections: usize,
    },
    Retired {
        service: String,
        name: String,
    },
    /// Everything goes back to the release before.
    Reverting {
        reason: String,
    },
    Note {
        text: String,
    },
    Ended {
        outcome: Outcome,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    /// The revision asks for nothing that does not already run.
    Unchanged,
    /// Nothing was touched, or everything was put back.
    Failed {
        reason: Failure,
    },
    /// A newer target made this one pointless.
    Superseded {
        by: String,
    },
    /// The agent ended in the middle; the next run puts things right.
    Interrupted,
}

impl Outcome {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Unchanged => "unchanged",
            Self::Failed { .. } => "failed",
            Self::Superseded { .. } => "superseded",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why a run failed, for the person who has to mend it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub service: Option<String>,
    /// One line.
    pub message: String,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
    /// The last lines of the log that matters: the build's, the container's or nginx's.
    pub log: String,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Started,
    Planned,
    Building,
    /// Containers are touched; the old release still has all requests.
    BringingUp,
    Switching,
    Live,
    Reverting,
    Ended,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "reading the revision",
            Self::Planned => "planned",
            Self::Building => "building",
            Self::BringingUp => "waiting for the new instances",
            Self::Switching => "switching",
            Self::Live => "live, retiring the old instances",
            Self::Reverting => "putting the old release back",
            Self::Ended => "ended",
        })
    }
}

/// An entry that cannot follow what the log says so far: a defect of the agent, never of its user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a run that is {status:?} cannot go on with {entry}")]
pub struct IllegalEntry {
    pub status: Status,
    pub entry: String,
}

impl Status {
    /// The status after one more entry.
    pub fn next(self, entry: &Entry) -> Result<Self, IllegalEntry> {
        use Status::{BringingUp, Building, Ended, Live, Planned, Reverting, Started, Switching};
        match (self, entry) {
            (Ended, _) => Err(self.illegal(entry)),
            (_, Entry::Note { .. }) => Ok(self),
            (_, Entry::Ended { .. }) => Ok(Ended),
            (Started, Entry::Planned { .. }) => Ok(Planned),
            (Planned | Building, Entry::Building { .. } | Entry::Built { .. }) => Ok(Building),
            (Planned | Building | Live, Entry::Step { .. }) => Ok(BringingUp),
            (Planned | Building | BringingUp, Entry::BringingUp { .. }) => Ok(BringingUp),
            (BringingUp | Switching, Entry::Passed { .. } | Entry::Gap { .. }) => Ok(self),
            // What stops first is told to stop before its successor comes up, nginx itself among them; and on the way
            // back, what came up.
            (BringingUp | Switching | Reverting, Entry::Cut { .. }) => Ok(self),
            // nginx itself comes up as the last act of the switch.
            (Switching, Entry::BringingUp { .. } | Entry::Refreshing { .. }) => Ok(Switching),
            (Planned | Building | BringingUp, Entry::Switching) => Ok(Switching),
            (Switching, Entry::Switched) => Ok(Live),
            (Live, Entry::Draining { .. } | Entry::Cut { .. } | Entry::Retired { .. }) => Ok(Live),
            (Planned | Building | BringingUp | Switching, Entry::Reverting { .. }) => Ok(Reverting),
            (Reverting, Entry::Retired { .. }) => Ok(Reverting),
            _ => Err(self.illegal(entry)),
        }
    }

    /// Containers may be as it made them, or as it is about to unmake them.
    pub fn touches_containers(self) -> bool {
        matches!(self, Self::BringingUp | Self::Switching | Self::Live | Self::Reverting)
    }

    /// The status at the end of a log.
    pub fn of<'a>(log: impl IntoIterator<Item = &'a Entry>) -> Result<Self, IllegalEntry> {
        log.into_iter().try_fold(Self::Started, Self::next)
    }

    fn illegal(self, entry: &Entry) -> IllegalEntry {
        IllegalEntry { status: self, entry: format!("{entry:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(service: &str) -> Entry {
        Entry::BringingUp { service: service.into(), name: "x-1".into(), order: "start-first".into() }
    }

    fn passed() -> Entry {
        Entry::Passed { service: "web".into(), name: "x-1".into(), millis: 200, warning: None }
    }

    #[test]
    fn a_good_run_folds_to_its_end() {
        let log = [
            Entry::Planned { summary: "1 to build".into() },
            Entry::Building { tag: "x:1".into() },
            Entry::Built { tag: "x:1".into(), millis: 1000 },
            up("web"),
            passed(),
            Entry::Switching,
            up("nginx"),
            passed(),
            Entry::Switched,
            Entry::Draining { service: "web".into(), name: "x-0".into() },
            Entry::Cut { service: "web".into(), name: "x-0".into(), connections: 2 },
            Entry::Retired { service: "web".into(), name: "x-0".into() },
            Entry::Ended { outcome: Outcome::Succeeded },
        ];
        assert_eq!(Status::of(&log), Ok(Status::Ended));
        assert_eq!(Status::of(&log[..9]), Ok(Status::Live));
    }

    #[test]
    fn the_next_step_may_fail_although_the_one_before_is_live() {
        let step = |number| Entry::Step { number, of: 2, services: vec!["web".into()] };
        let reverting = Entry::Reverting { reason: "it never answered".into() };
        let log = [
            Entry::Planned { summary: "2 to build".into() },
            step(1),
            up("web"),
            Entry::Switching,
            Entry::Switched,
            step(2),
            reverting,
        ];
        assert_eq!(Status::of(&log[..5]), Ok(Status::Live));
        assert_eq!(Status::of(&log), Ok(Status::Reverting));
    }

    #[test]
    fn a_run_touches_containers_from_the_first_that_it_brings_up_until_its_end() {
        let log =
            [Entry::Planned { summary: String::new() }, Entry::Building { tag: "x:1".into() }, up("web")];
        let touches = |entries: &[Entry]| Status::of(entries).unwrap().touches_containers();
        assert_eq!([0, 1, 2, 3].map(|count| touches(&log[..count])), [false, false, false, true]);
        assert!([Status::Switching, Status::Live, Status::Reverting].iter().all(|s| s.touches_containers()));
        assert!(!Status::Ended.touches_containers());
    }

    #[test]
    fn nothing_follows_the_end() {
        let end = Entry::Ended { outcome: Outcome::Interrupted };
        assert!(Status::Ended.next(&Entry::Note { text: "late".into() }).is_err());
        assert!(Status::of([&end, &end]).is_err());
    }

    #[test]
    fn a_live_release_is_not_reverted_by_its_own_run_and_nothing_is_built_after_containers_were_touched() {
        assert!(Status::Live.next(&Entry::Reverting { reason: "x".into() }).is_err());
        assert!(Status::BringingUp.next(&Entry::Building { tag: "x".into() }).is_err());
        assert!(Status::Started.next(&Entry::Switching).is_err());
    }
}
