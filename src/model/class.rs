//! What an error means for the loop.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The world may mend by itself: tried again with backoff.
    Waiting,
    /// A person must change something: the same revision is not tried again.
    Stalled,
    /// This attempt broke; a later one may work: tried again, with backoff.
    Failed,
}
