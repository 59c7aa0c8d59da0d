//! What a failure asks for. Every layer's error says its class; the loop needs nothing else of it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The world may mend itself: tried again, with backoff and jitter.
    Waiting,
    /// A person must change something; trying the same again would end the same.
    Stalled,
    /// This attempt broke on its own account (our disk, our process): backed off and reported.
    Failed,
}
