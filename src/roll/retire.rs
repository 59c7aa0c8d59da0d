//! The old instances: nobody new finds them, what they have begun ends, they end, they go.

use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::{InstanceId, RestartSpec};
use crate::model::run::Entry;
use crate::plan::diff::OldInstance;

use super::drain::{Drained, Patience};
use super::{Journal, JournalError, Rolling, callers::leave_callers, observe_again};

/// While an instance stands still to lose its names, a caller inside the stack that connects to it is not heard, and
/// tries again after a second (TCP's first retransmission). It must still find it then.
const HEARD_AGAIN: Duration = Duration::from_millis(1500);
/// Nobody waits for an instance that retires.
const LOOK: Duration = Duration::from_millis(100);
const LEFT: &str = "something newer is to be reached, and its run retires it";

/// Retires what the plan replaces or removes. The release is live, so no failure here undoes it: what cannot be
/// retired now is noted, and found again by the next plan. For as long as `linger`, nginx may still send requests to
/// the old instances, on connections that its clients kept.
pub async fn retire<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    linger: Duration,
) -> Result<(), JournalError> {
    let keep = rolling.pace.keep_removed;
    // What stopped first was out of sight before.
    let rolled = rolling.plan.rolls.iter().flat_map(|roll| {
        let seen = roll.order == Order::StartFirst;
        roll.old.iter().map(move |old| {
            let of = old.of.as_ref().unwrap_or(&roll.service);
            (of, old, seen, keep && !rolling.desired.services.contains_key(of))
        })
    });
    let removed = rolling.plan.removals.iter();
    let removed =
        removed.flat_map(|removal| removal.old.iter().map(move |old| (&removal.service, old, true, keep)));
    let all =
        rolled.chain(removed).map(|(service, old, seen, keep)| (service, old, seen.then_some(linger), keep));
    let all: Vec<_> = all.collect();
    let dismissed = all.iter().map(|(service, old, seen, _)| rolling.dismiss(service, old, seen.is_some()));
    join_all(dismissed).await.into_iter().collect::<Result<(), _>>()?;
    // The engine knows only the new ones now.
    match observe_again(rolling.engine, &rolling.desired.stack, || false).await {
        Ok(observed) => leave_callers(&observed).await,
        // Looking for drift does it again later.
        Err(error) => tracing::warn!("callers are still led by their hosts files: {error}"),
    }
    let retired =
        all.into_iter().map(|(service, old, seen, keep)| rolling.retire_one(service, old, seen, keep));
    join_all(retired).await.into_iter().collect()
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// Callers do not find it any more.
    async fn dismiss(&self, service: &str, old: &OldInstance, seen: bool) -> Result<(), JournalError> {
        if !seen || !old.serving {
            return Ok(());
        }
        let (service, name) = (service.to_owned(), old.name.clone());
        self.journal.write(Entry::Draining { service, name: name.clone() }).await?;
        match self.engine.dismiss(&old.id).await {
            Ok(()) => Ok(()),
            Err(error) => self.note(format!("{name} may still be found by name: {error}")).await,
        }
    }

    async fn retire_one(
        &self,
        service: &str,
        old: &OldInstance,
        seen: Option<Duration>,
        keep: bool,
    ) -> Result<(), JournalError> {
        let (of, name) = (service.to_owned(), old.name.clone());
        let seen = if old.serving { seen.map(|linger| linger.max(HEARD_AGAIN)) } else { seen };
        if let Some(linger) = seen
            && self.linger(&old.id, linger).await
        {
            return self.note(format!("{name}: {LEFT}")).await;
        }
        match self.drain(&old.id, Patience { most: self.pace.drain, look: LOOK, yields: true }).await {
            Drained::Quiet => {}
            Drained::Open(connections) => {
                let (service, name) = (of.clone(), name.clone());
                self.journal.write(Entry::Cut { service, name, connections }).await?;
            }
            Drained::Left(open) => {
                return self.note(format!("{name}: {open} connections are still open; {LEFT}")).await;
            }
        }
        let ended = match keep {
            true => self.put_aside(&old.id).await,
            false => self.end(old).await,
        };
        match ended {
            Ok(()) if keep => {
                self.note(format!("{name} is stopped, and removed when the watch is over")).await
            }
            Ok(()) => self.journal.write(Entry::Retired { service: of, name }).await,
            Err(error) => self.note(format!("{name} could not be removed: {error}")).await,
        }
    }

    /// Waits until nobody can come any more who has not heard of the switch. Returns whether something newer is to
    /// be reached first.
    async fn linger(&self, id: &InstanceId, linger: Duration) -> bool {
        let runs = self.engine.condition(id).await.is_ok_and(|condition| condition.pid > 0);
        runs && !linger.is_zero()
            && tokio::select! {
                () = tokio::time::sleep(linger) => false,
                () = self.newer.cancelled() => true,
            }
    }

    /// Stops, and no start of the engine brings it back.
    async fn put_aside(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.engine.keep_up(id, &RestartSpec::never()).await?;
        self.engine.stop(id).await
    }

    /// Stops and removes. Its successor has the data.
    async fn end(&self, old: &OldInstance) -> Result<(), EngineError> {
        self.engine.stop(&old.id).await?;
        if old.one_shot { self.engine.discard(&old.id).await } else { self.engine.remove(&old.id).await }
    }
}
