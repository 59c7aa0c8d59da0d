//! The old instances: nobody new finds them, what they have begun ends, they end, they go.

use futures_util::future::join_all;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::InstanceId;
use crate::model::run::Entry;
use crate::plan::diff::OldInstance;

use super::drain::Drained;
use super::{Journal, JournalError, Rolling};

/// Retires what the plan replaces or removes. The release is live, so no failure here undoes it: what cannot be
/// retired now is noted, and found again by the next plan.
pub async fn retire<E: Engine, J: Journal>(rolling: &Rolling<'_, E, J>) -> Result<(), JournalError> {
    // What stopped first was out of sight before.
    let rolled = rolling.plan.rolls.iter().flat_map(|roll| {
        let seen = roll.order == Order::StartFirst;
        roll.old.iter().map(move |old| (&roll.service, old, seen))
    });
    let removed = rolling.plan.removals.iter();
    let removed = removed.flat_map(|removal| removal.old.iter().map(|old| (&removal.service, old, true)));
    let all = rolled
        .chain(removed)
        .map(|(service, old, seen)| rolling.retire_one(service, old, seen && old.serving));
    join_all(all).await.into_iter().collect()
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    async fn retire_one(&self, service: &str, old: &OldInstance, serving: bool) -> Result<(), JournalError> {
        if serving {
            let (service, name) = (service.to_owned(), old.name.clone());
            self.journal.write(Entry::Draining { service, name }).await?;
            if let Err(error) = self.engine.dismiss(&old.id).await {
                self.note(format!("{} may still be found by name: {error}", old.name)).await?;
            }
        }
        match self.drain(&old.id).await {
            Drained::Quiet => {}
            Drained::Open(open) => {
                self.note(format!("{}: {open} connections were still open and are cut", old.name)).await?;
            }
            Drained::Left(open) => {
                let left = "something newer is to be reached, and retires it";
                return self.note(format!("{}: {open} connections are still open; {left}", old.name)).await;
            }
        }
        match self.end(&old.id).await {
            Ok(()) => {
                let (service, name) = (service.to_owned(), old.name.clone());
                self.journal.write(Entry::Retired { service, name }).await
            }
            Err(error) => self.note(format!("{} could not be removed: {error}", old.name)).await,
        }
    }

    /// Stops and removes.
    pub(super) async fn end(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.engine.stop(id).await?;
        self.engine.remove(id).await
    }
}
