//! A run: one application of one plan. Its log is append-only; its status is a checked fold over it.

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
