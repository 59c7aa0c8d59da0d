//! Words for what happened, the same wherever they are read. Pure.

use crate::model::run::{Failure, Outcome};
use crate::record::{Release, Run, Watch};

/// A revision in the digits that people read.
pub fn short(revision: &str) -> &str {
    revision.get(..10).unwrap_or(revision)
}

/// A failure in a line.
pub fn brief(failure: &Failure) -> String {
    match &failure.service {
        Some(service) => format!("{service}: {}", failure.message),
        None => failure.message.clone(),
    }
}

/// What happens to a release that is watched, if it turns bad.
pub fn way_back(watch: &Watch) -> String {
    let later = watch.first.map_or("", |_| ", or a later good one,");
    format!("if it goes bad, release {}{later} comes back", watch.back_to)
}

/// Its log without what would recolour or rewrite a person's terminal.
pub fn plain_log(failure: &Failure) -> String {
    let plain = anstream::adapter::strip_str(&failure.log).to_string();
    plain.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// What came of a run; of what is kept, the release by its number.
pub fn outcome(run: &Run, releases: &[Release]) -> String {
    let Some(outcome) = &run.outcome else { return "in progress".to_owned() };
    let kept = run.release.filter(|id| releases.iter().any(|release| release.id == *id));
    match (outcome, kept) {
        (Outcome::Succeeded, Some(release)) => format!("release {release}"),
        _ => outcome.word().to_owned(),
    }
}

/// Why a run did not succeed.
pub fn ended(run: &Run) -> Option<String> {
    match run.outcome.as_ref()? {
        Outcome::Failed { reason } => Some(brief(reason)),
        Outcome::Superseded { by } => Some(format!("by {}", short(by))).filter(|_| !by.is_empty()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::{ReleaseId, RunId};

    #[test]
    fn the_way_back_may_be_shorter_where_more_than_one_release_is_watched() {
        let mut watch = Watch {
            run: RunId(4),
            back_to: ReleaseId(2),
            services: Default::default(),
            unproven: Default::default(),
            touched: Default::default(),
            first: None,
            since: 1,
            until: 2,
        };
        assert_eq!(way_back(&watch), "if it goes bad, release 2 comes back");
        watch.first = Some(0);
        let later = "if it goes bad, release 2, or a later good one, comes back";
        assert_eq!(way_back(&watch), later);
    }
}
