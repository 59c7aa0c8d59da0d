//! The old instances: nobody new finds them, what they have begun ends, they end, they go.

use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::InstanceId;
use crate::model::run::Entry;
use crate::plan::diff::OldInstance;

use super::drain::Drained;
use super::{Journal, JournalError, Rolling};

/// Retires what the plan replaces or removes. The release is live, so no failure here undoes it: what cannot be
/// retired now is noted, and found again by the next plan. For as long as `linger`, nginx may still send requests to
/// the old instances, on connections that its clients kept.
pub async fn retire<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    linger: Duration,
) -> Result<(), JournalError> {
    // What stopped first was out of sight before.
    let rolled = rolling.plan.rolls.iter().flat_map(|roll| {
        let seen = roll.order == Order::StartFirst;
        roll.old.iter().map(move |old| (&roll.service, old, seen))
    });
    let removed = rolling.plan.removals.iter();
    let removed = removed.flat_map(|removal| removal.old.iter().map(|old| (&removal.service, old, true)));
    let all = rolled.chain(removed).map(|(service, old, seen)| {
        rolling.retire_one(service, old, (seen && old.serving).then_some(linger))
    });
    join_all(all).await.into_iter().collect()
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// `lingers`: that it serves, and for how long requests may still come.
    async fn retire_one(
        &self,
        service: &str,
        old: &OldInstance,
        lingers: Option<Duration>,
    ) -> Result<(), JournalError> {
        let (of, name) = (service.to_owned(), old.name.clone());
        if let Some(linger) = lingers {
            self.journal.write(Entry::Draining { service: of.clone(), name: name.clone() }).await?;
            if let Err(error) = self.engine.dismiss(&old.id).await {
                self.note(format!("{} may still be found by name: {error}", old.name)).await?;
            }
            tokio::time::sleep(linger).await;
        }
        match self.drain(&old.id).await {
            Drained::Quiet => {}
            Drained::Open(connections) => {
                let (service, name) = (of.clone(), name.clone());
                self.journal.write(Entry::Cut { service, name, connections }).await?;
            }
            Drained::Left(open) => {
                let left = "something newer is to be reached, and retires it";
                return self.note(format!("{}: {open} connections are still open; {left}", old.name)).await;
            }
        }
        match self.end(&old.id).await {
            Ok(()) => self.journal.write(Entry::Retired { service: of, name }).await,
            Err(error) => self.note(format!("{name} could not be removed: {error}")).await,
        }
    }

    /// Stops and removes.
    pub(super) async fn end(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.engine.stop(id).await?;
        self.engine.remove(id).await
    }
}
