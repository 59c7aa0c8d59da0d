//! The nouns everyone shares: plain data, no IO, no clock, no async.

pub mod class;
pub mod cron;
pub mod desired;
pub mod forge;
pub mod freeze;
pub mod instance;
pub mod nginx;
pub mod place;
pub mod problem;
pub mod project;
pub mod route;
pub mod run;
pub mod stripe;
pub mod subnet;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Git commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits: what people read.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

/// What a text must be to be a [`Revision`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a full commit id (40 or 64 hexadecimal digits)")]
pub struct NotARevision(pub String);

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, NotARevision> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARevision(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Revision {
    type Error = NotARevision;

    fn try_from(text: String) -> Result<Self, NotARevision> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_forty_or_sixty_four_hex_digits() {
        assert!("0123456789abcdef0123456789abcdef01234567".parse::<Revision>().is_ok());
        assert!("a".repeat(64).parse::<Revision>().is_ok());
        for bad in ["", "main", &"g".repeat(40), &"A".repeat(40), &"a".repeat(41)] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }
}
