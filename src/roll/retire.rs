//! The old instances: nobody new finds them, what they have begun ends, they end, they go.

use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::InstanceId;
use crate::model::run::Entry;
use crate::plan::diff::OldInstance;

use super::{Journal, JournalError, Rolling};

const GRACE_SECONDS: u32 = 10;

/// Retires what the plan replaces or removes. The release is live, so no failure here undoes it: what cannot be
/// retired now is noted, and found again by the next plan. For as long as `linger`, nginx may still send requests to
/// the old instances, on connections that its clients kept.
pub async fn retire<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    linger: Duration,
) -> Result<(), JournalError> {
    let rolled = rolling.plan.rolls.iter().flat_map(|roll| {
        // What stopped first has nothing left to finish.
        let serving = roll.order == Order::StartFirst;
        roll.old.iter().map(move |old| (&roll.service, old, serving && old.serving))
    });
    let removed = rolling.plan.removals.iter();
    let removed =
        removed.flat_map(|removal| removal.old.iter().map(|old| (&removal.service, old, old.serving)));
    let all = rolled.chain(removed);
    let all = all.map(|(service, old, serving)| rolling.retire_one(service, old, serving.then_some(linger)));
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
        if let Some(linger) = lingers {
            let (of, name) = (service.to_owned(), old.name.clone());
            self.journal.write(Entry::Draining { service: of, name }).await?;
            if let Err(error) = self.engine.dismiss(&old.id).await {
                self.note(format!("{} may still be found by name: {error}", old.name)).await?;
            }
            tokio::time::sleep(linger).await;
            let connections = self.drain(&old.id).await;
            if connections > 0 {
                let (service, name) = (service.to_owned(), old.name.clone());
                self.journal.write(Entry::Cut { service, name, connections }).await?;
            }
        }
        match self.end(service, &old.id).await {
            Ok(()) => {
                let (service, name) = (service.to_owned(), old.name.clone());
                self.journal.write(Entry::Retired { service, name }).await
            }
            Err(error) => self.note(format!("{} could not be removed: {error}", old.name)).await,
        }
    }

    /// Stops and removes, with the grace of the release the instance belongs to.
    pub(super) async fn end(&self, service: &str, id: &InstanceId) -> Result<(), EngineError> {
        let known = self.before.and_then(|before| before.services.get(service));
        let known = known.or_else(|| self.desired.services.get(service));
        let seconds = known.map_or(GRACE_SECONDS, |service| service.template.stop_grace_seconds);
        self.engine.stop(id, Duration::from_secs(seconds.into())).await?;
        self.engine.remove(id).await
    }
}
