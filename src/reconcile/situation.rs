//! What the loop is doing, for `agent status` and the readiness page.

use serde::{Deserialize, Serialize};

use crate::model::class::Class;
use crate::model::run::{Failure, RunId};
use crate::record::Watch;

/// Published whenever it changes. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    pub doing: Doing,
    /// When the branch was last asked for, with an answer.
    pub looked_at: Option<i64>,
    /// Where it pointed then.
    pub tip: Option<String>,
    pub wrong: Option<Wrong>,
    /// The new release that is being watched.
    pub watching: Option<Watch>,
    /// Why the tip is not run, though nothing is wrong with it.
    pub held_back: Option<HeldBack>,
    /// What a person changed by hand and is left as it is.
    pub drift: Vec<String>,
    /// Turns that came to their end since the agent started.
    pub turns: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "kebab-case")]
pub enum Doing {
    #[default]
    Idle,
    Turn {
        why: String,
        since: i64,
        run: Option<RunId>,
    },
}

/// A tip that may not run now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub revision: String,
    pub subject: String,
    /// One line that follows "is held back: ".
    pub why: String,
    pub hint: Option<String>,
    /// When this was first found.
    pub since: i64,
    /// When it is judged again by itself; `None`: when something new is pushed.
    pub again_at: Option<i64>,
}

/// What the last turn met, until a turn meets it no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    pub class: Class,
    pub failure: Failure,
    pub since: i64,
    /// When it is tried again by itself.
    pub again_at: Option<i64>,
}
