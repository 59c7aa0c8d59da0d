//! Whether something newer is to be reached than what a run is at.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::Revision;
use crate::model::run::{Kind, Outcome};
use crate::record::{Hold, Run, Target};

use super::Reconciler;
use super::trouble::Trouble;

/// Looks for something newer while a run works, at most this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After so many runs that were overtaken one after the other, the next is given its time: pushes that come quicker than
/// the stack starts must not keep it from ever getting anything new.
const PATIENCE_OF_PUSHES: usize = 3;

impl<E: Engine> Reconciler<E> {
    /// Cancels `newer` when a wake finds that the run's goal is no longer the one to reach.
    pub(super) async fn watch_for_newer(&self, kind: Kind, revision: &Revision, newer: &CancellationToken) {
        let mut seen = None;
        loop {
            self.wakes.wait().await;
            let pending = self.wakes.pending();
            if pending != seen
                && !newer.is_cancelled()
                && self.outdated(kind, revision).await.unwrap_or(false)
            {
                newer.cancel();
            }
            seen = pending;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn outdated(&self, kind: Kind, revision: &Revision) -> Result<bool, Trouble> {
        match (kind, self.record.target().await?) {
            (_, Target::Down { .. }) | (Kind::Deploy, Target::Pinned(_)) => Ok(true),
            (Kind::Deploy | Kind::Heal, Target::Back { .. }) => Ok(true),
            // What is pinned is mended like anything else.
            (Kind::Heal, Target::Pinned(hold)) => {
                Ok(self.record.current().await?.is_none_or(|current| current.id != hold.release))
            }
            (Kind::Rollback, Target::Branch) => Ok(true),
            (Kind::Revert, Target::Back { .. }) => Ok(false),
            (Kind::Revert, Target::Pinned(_)) => Ok(true),
            (Kind::Rollback, Target::Pinned(Hold { release, .. }) | Target::Back { release }) => {
                Ok(self.record.release(release).await?.revision != *revision)
            }
            // Once a revert is live the branch is the target again, whose tip is what was denied, or newer.
            (Kind::Deploy | Kind::Revert, Target::Branch) => {
                if overtaken_in_a_row(&self.record.runs(PATIENCE_OF_PUSHES + 1).await?) >= PATIENCE_OF_PUSHES
                {
                    return Ok(false);
                }
                let tip = self.look_past().await?;
                let denied = self.record.denial(&tip).await?.is_some();
                Ok(tip != *revision && !denied && self.may_overtake(&tip).await?)
            }
            (Kind::Heal, Target::Branch) => Ok(false),
        }
    }
}

/// How many of the last runs gave way to something newer; the newest, which goes on, is not counted.
fn overtaken_in_a_row(runs: &[Run]) -> usize {
    let overtaken = |run: &&Run| matches!(run.outcome, Some(Outcome::Superseded { .. }));
    runs.iter().skip(1).take_while(overtaken).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::{RunId, Status};

    fn run(outcome: Option<Outcome>) -> Run {
        Run {
            id: RunId(1),
            kind: Kind::Deploy,
            revision: String::new(),
            subject: String::new(),
            reason: String::new(),
            started_at: 0,
            ended_at: None,
            status: Status::Live,
            outcome,
            release: None,
        }
    }

    #[test]
    fn what_was_overtaken_is_counted_back_to_what_was_not() {
        let overtaken = || run(Some(Outcome::Superseded { by: String::new() }));
        let done = || run(Some(Outcome::Succeeded));
        assert_eq!(overtaken_in_a_row(&[run(None)]), 0);
        assert_eq!(overtaken_in_a_row(&[run(None), overtaken(), overtaken(), done(), overtaken()]), 2);
        assert_eq!(overtaken_in_a_row(&[run(None), done(), overtaken()]), 0);
    }
}
