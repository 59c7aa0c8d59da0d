//! The way out of what a run had brought.

use chrono::Utc;
use futures_util::TryFutureExt;
use tokio::time::timeout;

use crate::engine::{Engine, EngineError};
use crate::model::desired::Order;
use crate::model::instance::{Instance, MountSpec};
use crate::model::run::Entry;
use crate::plan::diff::Roll;
use crate::roll::bring_up::{FINISH, LOOK};
use crate::roll::drain::{Drained, Patience};
use crate::roll::gate::Since;
use crate::roll::{Journal, JournalError, RollError, Rolling};

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// What a one-shot has begun to do to data is not cut off because another service has failed, or the agent: nothing
    /// waits for its end but the record and what is to be reached next.
    pub(super) async fn let_end(&self, own: &Instance) -> Result<(), JournalError> {
        let service = self.desired.services.get(&own.service).filter(|service| service.one_shot);
        let Some(service) = service.filter(|_| own.running()) else { return Ok(()) };
        // It is not cut off either by a log that cannot be written, or by an engine that does not answer for a moment.
        let told = self.note(format!("{} is left to end what it does", own.name)).await;
        let ended = async {
            while let Err(error) = self.until_ended(&own.id, Since::default()).await {
                if matches!(error, EngineError::Refused { .. }) {
                    // Somebody has removed it.
                    return;
                }
            }
        };
        match timeout(service.gate.timeout, ended).await {
            Ok(()) => told,
            Err(_) => told.and(self.note(format!("{} did not end and is stopped", own.name)).await),
        }
    }

    /// What did not end within its time has failed by that, and is not given as much again.
    pub(super) fn has_had_its_time(&self, own: &Instance) -> bool {
        let service = self.desired.services.get(&own.service);
        let age = own.condition.started_at.map(|at| Utc::now().timestamp_millis() - at);
        service.zip(age).is_some_and(|(service, age)| age >= service.gate.timeout.as_millis() as i64)
    }

    /// Requests do not reach it any more. Those that did are answered first, within bounds: for what stops first all
    /// others wait meanwhile, and something newer does too.
    pub(super) async fn let_finish(&self, own: &Instance) -> Result<(), JournalError> {
        if !own.admitted() || !own.running() {
            return Ok(());
        }
        let hurry = self.newer.is_cancelled() || self.stops_first(&own.service);
        let most = if hurry { self.pace.drain.min(FINISH) } else { self.pace.drain };
        match self.drain(&own.id, Patience { most, look: LOOK, yields: false }).await {
            Drained::Open(connections) => {
                let (service, name) = (own.service.clone(), own.name.clone());
                self.journal.write(Entry::Cut { service, name, connections }).await
            }
            _ => Ok(()),
        }
    }

    /// What was there before cannot run beside it.
    fn stops_first(&self, service: &str) -> bool {
        let first = |roll: &Roll| roll.service == service && roll.order == Order::StopFirst;
        self.plan.rolls.iter().any(|roll| first(roll) || roll.frees_for.contains(service))
    }

    pub(super) async fn remove_own(&self, instance: &Instance) -> Result<(), RollError> {
        let removed = match self.never_asked(instance) {
            true => self.engine.discard(&instance.id).await,
            false => self.stop_own(instance).and_then(|()| self.put_out(instance)).await,
        };
        match removed {
            Ok(()) => {
                let entry = Entry::Retired { service: instance.service.clone(), name: instance.name.clone() };
                Ok(self.journal.write(entry).await?)
            }
            Err(error) => {
                let told = self.note(format!("{} could not be removed: {error}", instance.name)).await;
                let runs = self.engine.condition(&instance.id).await.is_ok_and(|now| now.pid > 0);
                if runs && self.stops_first(&instance.service) {
                    return Err(Self::failed(&instance.service)(error));
                }
                Ok(told?)
            }
        }
    }

    /// What callers may have written through it stays.
    async fn put_out(&self, own: &Instance) -> Result<(), EngineError> {
        match own.admitted() {
            true => self.engine.remove(&own.id).await,
            false => self.engine.discard(&own.id).await,
        }
    }

    async fn stop_own(&self, own: &Instance) -> Result<(), EngineError> {
        match self.desired.services.get(&own.service) {
            Some(service) => self.stop(service, &own.id).await,
            None => self.engine.stop(&own.id).await,
        }
    }

    /// It waits for requests, and nobody can have sent it one: there is nothing it could be made to finish, and
    /// nothing to wait for. What works without being asked (a migration, a worker, the one that holds a volume) may
    /// be in the middle of something.
    fn never_asked(&self, instance: &Instance) -> bool {
        let Some(service) = self.desired.services.get(&instance.service) else { return false };
        let writes = service.template.mounts.iter().any(MountSpec::is_written);
        let alone = |roll: &Roll| match roll.service == instance.service {
            true => roll.order == Order::StopFirst,
            // What it has been given to write to.
            false => writes && roll.frees_for.contains(&instance.service),
        };
        !instance.admitted()
            && !service.one_shot
            && service.gate.probe.is_some()
            && self.brought(instance)
            && !self.plan.rolls.iter().any(alone)
    }

    pub(super) async fn keep_own(&self, instance: &Instance, before: &[Instance]) -> Result<(), RollError> {
        // Before anything is written down: it may hold a port that its predecessor needs.
        let patient = !self.never_asked(instance);
        if patient && let Err(error) = self.stop_own(instance).await {
            tracing::warn!("{} cannot be stopped: {error}", instance.name);
        }
        if let Err(error) = self.engine.shelve(&instance.id, patient).await {
            tracing::warn!("{} cannot be kept: {error}", instance.name);
            return self.remove_own(instance).await;
        }
        for earlier in before {
            if let Err(error) = self.engine.remove(&earlier.id).await {
                self.note(format!("{} could not be removed: {error}", earlier.name)).await?;
            }
        }
        Ok(self.note(format!("{} is kept for its logs", instance.name)).await?)
    }
}
