//! What is known of a way back before it is gone.

use crate::engine::Engine;
use crate::model::class::Class;
use crate::model::run::{Kind, Outcome};
use crate::record::{Target, Why};

use super::Reconciler;
use super::journal::now;
use super::trouble::Trouble;

/// How many runs back the last try is looked for, past those that only mended.
const RECENT: usize = 50;

impl<E: Engine> Reconciler<E> {
    /// Whether the release that a person chose was tried last of all and could not be reached: then a newer commit may
    /// lift the pin. Not in a pause, in which only what a person asked for by name is done.
    pub(super) async fn is_tried_in_vain(&self, target: &Target) -> Result<bool, Trouble> {
        let Target::Pinned(hold) = target else { return Ok(false) };
        if self.record.paused(now()).await?.is_some() {
            return Ok(false);
        }
        // What cannot be read can never be gone back to.
        let Ok(chosen) = self.record.release(hold.release).await else { return Ok(true) };
        let runs = self.record.runs(RECENT).await?;
        let last = runs.iter().find(|run| run.kind != Kind::Heal);
        Ok(last.is_some_and(|run| {
            let failed = matches!(run.outcome, Some(Outcome::Failed { .. } | Outcome::Interrupted));
            failed && run.kind == Kind::Rollback && run.revision == chosen.revision.as_str()
        }))
    }

    /// What the last turn met, if only a person can mend it; not what stands in the tip's way.
    pub(super) async fn stalled(&self) -> Option<Trouble> {
        let wrong = self.situation.borrow().wrong.clone()?;
        let standing = self.standing().await.is_some_and(|standing| standing.failure == wrong.failure);
        (wrong.class == Class::Stalled && !standing)
            .then_some(Trouble::Failure { class: wrong.class, failure: wrong.failure })
    }

    /// Why a revert begins, in a line.
    pub(super) async fn what_went_bad(&self) -> Result<String, Trouble> {
        let Some(applied) = self.record.applied().await? else { return Ok(String::new()) };
        let why = self.record.denial(&applied).await?.map(|denial| denial.why);
        let failure = why.as_ref().and_then(Why::failure);
        Ok(failure.map_or_else(String::new, |failure| {
            let service = failure.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
            format!("{} {service}{}", applied.short(), failure.message)
        }))
    }
}
