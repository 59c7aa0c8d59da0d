//! Wakes: what makes the loop look again. A wake says that something may have changed and carries nothing of
//! what: the branch is fetched and compared whoever knocked, so a lost, late, doubled or replayed knock costs
//! nothing but time.
//!
//! Knocks come from a forge's push webhook (`receive`), a timer (`schedule`) and from within the agent. What
//! a turn then does is not known here.

mod bitbucket;
mod deliveries;
mod envelope;
mod gitea;
mod github;
mod gitlab;
mod push;
mod receive;
mod schedule;
mod wakes;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::Migration;

pub use receive::{PushHook, PushHookError, router};
pub use schedule::{Schedule, ScheduleError};
pub use wakes::{Pending, Wakes, pending};

/// The tables of this room, in order.
pub const MIGRATIONS: &[Migration] = &[wakes::TABLE, deliveries::TABLE];

/// Who woke the loop. What is to be reached never depends on it; how much is looked at, and how patiently a
/// trouble is waited out, does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    Boot,
    /// `delivery` is the sender's id of the webhook.
    Webhook {
        delivery: String,
    },
    Poll,
    Cli,
    Drift,
    Retry,
    /// The watch over a new release has ended, well or badly.
    Watch,
    /// The time is up for which a person paused the agent.
    PauseOver,
}

impl Reason {
    /// Of several wakes before one turn the weightiest counts: a turn for it does what any other would, only sooner
    /// when something waits for its next try.
    fn weight(&self) -> u8 {
        match self {
            Self::Poll => 0,
            Self::Drift | Self::Retry => 1,
            Self::Webhook { .. } | Self::Watch => 2,
            Self::Boot | Self::Cli | Self::PauseOver => 3,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => f.write_str("the agent started"),
            Self::Webhook { delivery } => write!(f, "webhook {delivery}"),
            Self::Poll => f.write_str("the timer"),
            Self::Cli => f.write_str("a person asked"),
            Self::Drift => f.write_str("something on the machine changed"),
            Self::Retry => f.write_str("trying again"),
            Self::Watch => f.write_str("the watch over the new release ended"),
            Self::PauseOver => f.write_str("the pause is over"),
        }
    }
}
