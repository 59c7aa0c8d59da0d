//! What is wrong with a file, where, and how to mend it; and the log every stage adds to, so that a person
//! sees all problems at once and not one a turn.

use std::collections::BTreeSet;

pub use crate::model::problem::Problem;

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
