//! Whether a new revision may run now: what its message asks for, who signed it, what others checked, what day it is.
//!
//! It says no with a reason, and when to ask again if time alone can change the answer. It keeps nothing: the same
//! revision asked for again is judged again. What is done about a no is the loop's affair.

mod checks;
mod signature;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::Revision;
use crate::model::freeze::{Freeze, frozen};

pub use checks::{Checks, ChecksError};
pub use signature::{Signers, SignersError};

/// The rules. The default ones let everything pass.
#[derive(Default)]
pub struct Clearance {
    /// Texts in a message by which its author keeps the revision from running.
    pub skip: Vec<String>,
    pub signers: Option<Signers>,
    pub freeze: Vec<Freeze>,
    pub checks: Option<Checks>,
}

/// What is judged.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub revision: Revision,
    /// The whole message.
    pub message: String,
    /// The signature as it stands in the commit, and what it was made over.
    pub signature: Option<(String, Vec<u8>)>,
}

/// Why a revision may not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// One line that follows "is held back: ".
    pub why: String,
    pub hint: Option<String>,
    /// How long until asking again may bring another answer; `None`: only something new can.
    pub again: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClearanceError {
    #[error("the signature of the commit cannot be looked at")]
    Signature(#[from] SignersError),
    #[error("whether the required checks passed cannot be told")]
    Checks(#[from] ChecksError),
}

impl ClearanceError {
    pub fn hint(&self) -> String {
        match self {
            Self::Signature(error) => error.hint(),
            Self::Checks(error) => error.hint(),
        }
    }
}

impl Clearance {
    /// Whether there is any rule at all.
    pub fn asks(&self) -> bool {
        !self.skip.is_empty() || self.signers.is_some() || !self.freeze.is_empty() || self.checks.is_some()
    }

    /// The first objection, the ones that cost nothing first. `through_freeze`: a person said it shall not wait for
    /// the end of a freeze.
    pub async fn judge(
        &self,
        candidate: &Candidate,
        now: DateTime<Utc>,
        through_freeze: bool,
    ) -> Result<Option<Objection>, ClearanceError> {
        if let Some(objection) = self.skipped(candidate) {
            return Ok(Some(objection));
        }
        if let Some(signers) = &self.signers
            && let Some(objection) = signers.judge(candidate).await?
        {
            return Ok(Some(objection));
        }
        if let Some(objection) = self.frozen(now).filter(|_| !through_freeze) {
            return Ok(Some(objection));
        }
        match &self.checks {
            Some(checks) => Ok(checks.judge(&candidate.revision).await?),
            None => Ok(None),
        }
    }

    fn skipped(&self, candidate: &Candidate) -> Option<Objection> {
        let message = candidate.message.to_lowercase();
        let found = self.skip.iter().find(|text| message.contains(&text.to_lowercase()))?;
        let hint = Some("the next commit without it goes live, and this one with it".to_owned());
        Some(Objection { why: format!("its message says {found}"), hint, again: None })
    }

    fn frozen(&self, now: DateTime<Utc>) -> Option<Objection> {
        let (end, window) = frozen(&self.freeze, now)?;
        let why = format!("frozen until {} ({})", end.format("%a %H:%M UTC"), window.text());
        let hint = Some("if it cannot wait: agent deploy --despite-freeze".to_owned());
        Some(Objection { why, hint, again: (end - now).to_std().ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(message: &str) -> Candidate {
        let revision = "a".repeat(40).parse().unwrap();
        Candidate { revision, message: message.to_owned(), signature: None }
    }

    #[tokio::test]
    async fn a_message_can_keep_its_revision_back() {
        let skip = vec!["[skip deploy]".to_owned(), "[skip ci]".to_owned()];
        let clearance = Clearance { skip, ..Clearance::default() };
        for (message, objects) in [
            ("Reword\n\nOnly docs. [Skip Deploy]", true),
            ("[skip ci] Bump", true),
            ("Explain skip deploy", false),
            ("", false),
        ] {
            let answer = clearance.judge(&candidate(message), Utc::now(), true).await.unwrap();
            assert_eq!(answer.is_some(), objects, "{message}: {answer:?}");
            assert!(answer.is_none_or(|objection| objection.again.is_none()));
        }
    }

    #[tokio::test]
    async fn a_freeze_holds_until_its_end_or_a_person_s_word() {
        let freeze = vec![Freeze::parse("FRI 16:00 - MON 08:00").unwrap()];
        let clearance = Clearance { freeze, ..Clearance::default() };
        let sunday: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
        let objection = clearance.judge(&candidate("x"), sunday, false).await.unwrap().unwrap();
        assert_eq!(objection.why, "frozen until Mon 08:00 UTC (FRI 16:00 - MON 08:00)");
        assert_eq!(objection.again, Some(Duration::from_secs(20 * 3600)));
        assert_eq!(clearance.judge(&candidate("x"), sunday, true).await.unwrap(), None);
        let monday = "2026-11-23T08:00:00Z".parse().unwrap();
        assert_eq!(clearance.judge(&candidate("x"), monday, false).await.unwrap(), None);
    }
}
