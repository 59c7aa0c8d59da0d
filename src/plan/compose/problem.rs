//! What is wrong with a file, where, and how to mend it; and the log every stage adds to, so that a person
//! sees all problems at once and not one a turn.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::place::Place;

/// One thing wrong (or, among warnings, doubtful). Displays as `file:line:column: message`; the hint is
/// printed by whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Problem {}

/// What one load found out so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    problems: BTreeSet<Problem>,
    warnings: BTreeSet<Problem>,
}

impl Log {
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.insert(problem);
    }

    pub(super) fn warning(&mut self, warning: Problem) {
        self.warnings.insert(warning);
    }

    /// The value, or nothing and the problem noted.
    pub(super) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problem(problem)).ok()
    }

    /// Everything wrong so far, in the order of the places. Stands between stages of which the later ones
    /// would only repeat what the earlier ones found.
    pub(super) fn stop(&mut self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(std::mem::take(&mut self.problems).into_iter().collect())
        }
    }

    /// The warnings, in the order of their places, if nothing is wrong.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        self.stop()?;
        Ok(self.warnings.into_iter().collect())
    }
}
