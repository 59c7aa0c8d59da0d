//! Everything back: the run's own instances go, what served before serves again.
//!
//! It looks only at the plan and at what the engine shows, so that it can finish what a killed agent began.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::{Instance, Phase};
use crate::model::run::Entry;
use crate::plan::diff::{OldInstance, Roll};

use super::{
    Journal, JournalError, RollError, Rolling, bring_up::aside, callers::leave_callers, gate::Since,
};

/// Undoes everything the run did to containers. Requests must already go to the old instances again.
///
/// Of the service `keep` one instance is kept, stopped and with its logs, in place of one kept earlier. Returns whether
/// there was one.
pub async fn revert<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    keep: Option<&str>,
) -> Result<bool, RollError> {
    let failed = |source| RollError::Engine { service: "the old release".into(), source };
    let observed = rolling.engine.observe(&rolling.desired.stack).await.map_err(failed)?;
    let (ours, others): (Vec<&Instance>, Vec<&Instance>) =
        observed.instances.iter().partition(|instance| rolling.brought(instance));
    // Those that hold a port, a name or an address that the old ones need must be gone first.
    let kept = keep.and_then(|service| worth_keeping(&ours, service));
    let removed = join_all(ours.iter().map(|instance| async {
        match kept {
            Some(kept) if kept.id == instance.id => rolling.keep_own(instance, &observed.failed).await,
            _ => rolling.remove_own(instance).await,
        }
    }))
    .await;
    let olds = rolling.plan.rolls.iter().flat_map(|roll| &roll.old);
    let olds = olds.chain(rolling.plan.removals.iter().flat_map(|removal| &removal.old));
    let olds: Vec<&OldInstance> = olds.filter(|old| old.serving).collect();
    let back = others.iter().filter_map(|instance| {
        let old = olds.iter().find(|old| old.id == instance.id)?;
        Some(rolling.put_back(instance, old))
    });
    let results: Vec<Result<(), EngineError>> = join_all(back).await;
    leave_callers(&observed).await;
    results.into_iter().collect::<Result<(), _>>().map_err(failed)?;
    // Only now: a log that cannot be written must not keep the old ones from coming back.
    removed.into_iter().collect::<Result<(), _>>()?;
    let stopped = others.iter().filter(|instance| !instance.running());
    let started = stopped.filter(|instance| olds.iter().any(|old| old.id == instance.id));
    join_all(started.map(|instance| rolling.settled(instance)))
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    Ok(kept.is_some())
}

/// The one that most likely shows what went wrong: it has ended, or is the last. One that was never started has no logs.
fn worth_keeping<'a>(ours: &[&'a Instance], service: &str) -> Option<&'a Instance> {
    let of_service = ours.iter().copied().filter(|instance| instance.service == service);
    of_service.max_by_key(|instance| {
        let begun = instance.condition.phase != Phase::Created;
        (begun, !instance.running(), instance.condition.restarts, instance.number)
    })
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    async fn remove_own(&self, instance: &Instance) -> Result<(), JournalError> {
        let removed = match self.never_asked(instance) {
            true => self.engine.remove(&instance.id).await,
            false => self.end(&instance.id).await,
        };
        match removed {
            Ok(()) => {
                let entry = Entry::Retired { service: instance.service.clone(), name: instance.name.clone() };
                self.journal.write(entry).await
            }
            Err(error) => self.note(format!("{} could not be removed: {error}", instance.name)).await,
        }
    }

    /// It waits for requests, and nobody can have sent it one: there is nothing it could be made to finish, and
    /// nothing to wait for. What works without being asked (a migration, a worker, the one that holds a volume) may
    /// be in the middle of something.
    fn never_asked(&self, instance: &Instance) -> bool {
        let beside = |roll: &Roll| roll.service == instance.service && roll.order == Order::StartFirst;
        let service = self.desired.services.get(&instance.service);
        !instance.admitted()
            && self.plan.rolls.iter().any(beside)
            && service.is_some_and(|service| service.gate.probe.is_some() && !service.one_shot)
    }

    async fn keep_own(&self, instance: &Instance, before: &[Instance]) -> Result<(), JournalError> {
        // Before anything is written down: it may hold a port that its predecessor needs.
        if let Err(error) = self.engine.shelve(&instance.id, !self.never_asked(instance)).await {
            tracing::warn!("{} cannot be kept: {error}", instance.name);
            return self.remove_own(instance).await;
        }
        for earlier in before {
            if let Err(error) = self.engine.remove(&earlier.id).await {
                self.note(format!("{} could not be removed: {error}", earlier.name)).await?;
            }
        }
        self.note(format!("{} is kept for its logs", instance.name)).await
    }

    /// Waits until what was started again answers, so that nobody is told of an old release that is not there yet.
    async fn settled(&self, instance: &Instance) -> Result<(), JournalError> {
        let Some(service) = self.before.and_then(|before| before.services.get(&instance.service)) else {
            return Ok(());
        };
        let passed = match self.address(service, None, &instance.id).await {
            Ok(address) => self.wait_for(service, &instance.id, address, Since::default()).await.map(drop),
            Err(error) => Err(error),
        };
        match passed {
            // What is newer brings its own.
            Ok(()) | Err(RollError::Newer) => Ok(()),
            Err(error) => {
                self.note(format!("{} was started again and is not well: {error}", instance.name)).await
            }
        }
    }

    async fn put_back(&self, instance: &Instance, old: &OldInstance) -> Result<(), EngineError> {
        if instance.name == aside(old) {
            self.engine.rename(&instance.id, &old.name).await?;
        }
        if !instance.running() {
            self.engine.start(&instance.id).await?;
        }
        let Some(service) = self.before.and_then(|before| before.services.get(&instance.service)) else {
            return Ok(());
        };
        let known: BTreeSet<&str> =
            instance.endpoints.values().flat_map(|e| e.aliases.iter().map(String::as_str)).collect();
        let names = service.template.networks.iter().flat_map(|used| &used.aliases);
        let hidden = names.into_iter().any(|alias| !known.contains(alias.as_str()));
        if hidden { self.engine.admit(&instance.id, &service.template.networks).await } else { Ok(()) }
    }
}
