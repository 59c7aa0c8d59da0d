//! Which events a destination wants: an event type, or the beginning of one. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `checkout.session.completed` (this one), `checkout.session.*` (all that begin so) or `*` (all).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of event types: write one such as `invoice.paid`, the beginning of some as \
     `checkout.session.*`, or `*` for all"
)]
pub struct PatternError(String);

impl Pattern {
    /// Whether an event of type `kind` is meant.
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == self.0,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let stem = match text.strip_suffix(".*") {
            Some(stem) => stem,
            None if text == "*" => return Ok(Self(text.to_owned())),
            None => text,
        };
        let word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if stem.split('.').all(word) { Ok(Self(text.to_owned())) } else { Err(PatternError(text.to_owned())) }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, kind: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(kind)
    }

    #[test]
    fn a_star_at_the_end_stands_for_whatever_follows() {
        assert!(matches("*", "invoice.paid"));
        assert!(matches("checkout.session.*", "checkout.session.completed"));
        assert!(matches("checkout.*", "checkout.session.completed"));
        assert!(!matches("checkout.session.*", "checkout.sessions"));
        assert!(!matches("checkout.session.*", "checkout.session"));
        assert!(matches("invoice.paid", "invoice.paid"));
        assert!(!matches("invoice.paid", "invoice.paid.late"));
    }

    #[test]
    fn what_could_never_match_as_meant_is_refused() {
        for good in ["*", "v2.core.event_destination.ping", "v1.billing.*", "ping"] {
            assert!(good.parse::<Pattern>().is_ok(), "{good}");
        }
        for bad in ["", ".", "**", "a.*.b", "check*", "*.paid", ".*", "Invoice.paid", "a b", "a..b", "a."] {
            assert_eq!(bad.parse::<Pattern>(), Err(PatternError(bad.into())), "{bad}");
        }
    }
}
