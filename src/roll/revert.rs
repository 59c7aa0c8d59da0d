//! Everything back: the run's own instances go, what served before serves again.
//!
//! It looks only at the plan and at what the engine shows, so that it can finish what a killed agent began.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use futures_util::TryFutureExt;
use futures_util::future::{join, join_all};
use tokio::time::timeout;

use crate::engine::{Engine, EngineError};
use crate::model::class::Class;
use crate::model::desired::{Order, Service};
use crate::model::instance::{Instance, Observed, Phase};
use crate::model::run::Entry;
use crate::plan::diff::{OldInstance, Roll};
use crate::report;

use super::bring_up::{FINISH, LOOK, aside};
use super::callers::leave_callers;
use super::drain::{Drained, Patience};
use super::gate::Since;
use super::{Journal, JournalError, RollError, Rolling};

const OLD: &str = "the old release";
/// Nobody's request waits longer for what comes back.
const LONGEST: Duration = Duration::from_secs(30);

/// Undoes everything the run did to containers. Requests must already go to the old instances again.
///
/// Of the service `keep` one instance is kept, stopped and with its logs, in place of one kept earlier. Returns whether
/// there was one.
pub async fn revert<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    keep: Option<&str>,
) -> Result<bool, RollError> {
    let observed = rolling.observe_old().await?;
    let (ours, others): (Vec<&Instance>, Vec<&Instance>) =
        observed.instances.iter().partition(|instance| rolling.brought(instance));
    let (ours, failed) = (&ours, &observed.failed);
    let kept = keep.and_then(|service| worth_keeping(ours, service));
    // Each by itself: a new one that takes its time to end keeps no other's old ones from coming back.
    let (groups, others) = (rolling.inseparable(ours), &others);
    let done = join_all(groups.iter().map(|services| async move {
        let own = ours.iter().filter(|own| services.contains(own.service.as_str()));
        let gone = own.map(|own| async move {
            let over = keep == Some(own.service.as_str()) && rolling.has_had_its_time(own);
            let finished = if over { Ok(()) } else { rolling.let_end(own).await };
            let finished = finished.and(rolling.let_finish(own).await);
            let gone = match kept {
                Some(kept) if kept.id == own.id => rolling.keep_own(own, failed).await,
                _ => rolling.remove_own(own).await,
            };
            gone.and(finished.map_err(RollError::from))
        });
        let gone: Result<(), RollError> = join_all(gone).await.into_iter().collect();
        let back = services
            .iter()
            .map(|service| async move { (*service, rolling.bring_back(service, others).await) });
        match gone {
            // It is still there, and writes to what the old one would write to.
            Err(RollError::Engine { .. }) => (gone, Vec::new()),
            _ => (gone, join_all(back).await),
        }
    }))
    .await;
    leave_callers(&observed).await;
    let mut results = Vec::new();
    for (gone, back) in done {
        results.push(match gone {
            // The run does not wait for that either: what is healed next stops it first.
            Err(RollError::Engine { service, source }) if never_by_itself(&source) => {
                let text = format!("{service} stays stopped, for what was to replace it still runs");
                rolling.note(text).await.map_err(RollError::from)
            }
            gone => gone,
        });
        for (service, back) in back {
            results.push(match back {
                Err(RollError::Engine { .. }) => rolling.bring_back_late(service).await,
                back => back,
            });
        }
    }
    // Only now: a log that cannot be written must not keep the old ones from coming back.
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(kept.is_some())
}

/// What an agent was about to stop when it was killed stops: the engine may be at it, and what still runs now would be gone
/// a moment later.
pub async fn end_stops<E: Engine, J: Journal>(rolling: &Rolling<'_, E, J>) -> Result<(), RollError> {
    let observed = rolling.observe_old().await?;
    let stopping = observed.instances.iter().filter(|instance| {
        let old = rolling.olds().any(|(_, old)| old.id == instance.id);
        let kept_up = |service: &Service| !matches!(service.template.restart.policy.as_str(), "" | "no");
        old && instance.running() && instance.let_lie && rolling.service_before(instance).is_some_and(kept_up)
    });
    let stopped = stopping.map(|instance| rolling.engine.stop(&instance.id));
    join_all(stopped).await.into_iter().collect::<Result<(), _>>().map_err(Rolling::<E, J>::failed(OLD))
}

/// The one that most likely shows what went wrong: it has ended, or is the last. One that was never started has no logs.
fn worth_keeping<'a>(ours: &[&'a Instance], service: &str) -> Option<&'a Instance> {
    let of_service = ours.iter().copied().filter(|instance| instance.service == service);
    of_service.max_by_key(|instance| {
        let begun = instance.condition.phase != Phase::Created;
        (begun, !instance.running(), instance.condition.restarts, instance.number)
    })
}

fn never_by_itself(error: &EngineError) -> bool {
    error.class() != Class::Waiting && !matches!(error, EngineError::DiskFull { .. })
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    async fn observe_old(&self) -> Result<Observed, RollError> {
        self.engine.observe(&self.desired.stack).await.map_err(Self::failed(OLD))
    }

    /// The services that there is something to put back of. One after which another was to start goes with that: its old
    /// ones come back when the other's new ones have gone.
    fn inseparable<'s>(&'s self, ours: &'s [&Instance]) -> Vec<BTreeSet<&'s str>> {
        let services: BTreeSet<&str> = self
            .olds()
            .map(|(service, _)| service)
            .chain(ours.iter().map(|own| own.service.as_str()))
            .collect();
        let mut groups: Vec<BTreeSet<&str>> = services.into_iter().map(|service| [service].into()).collect();
        for roll in self.plan.rolls.iter().filter(|roll| !roll.frees_for.is_empty()) {
            let linked = |group: &mut BTreeSet<&str>| {
                group.iter().any(|service| *service == roll.service || roll.frees_for.contains(*service))
            };
            let together = groups.extract_if(.., linked).flatten().collect();
            groups.push(together);
        }
        groups
    }

    /// What served before, by service.
    fn olds(&self) -> impl Iterator<Item = (&str, &OldInstance)> {
        let rolled = self.plan.rolls.iter().map(|roll| (&roll.service, &roll.old));
        let removed = self.plan.removals.iter().map(|removal| (&removal.service, &removal.old));
        let all =
            rolled.chain(removed).flat_map(|(service, old)| old.iter().map(|old| (service.as_str(), old)));
        all.filter(|(_, old)| old.serving || old.restarting)
    }

    /// What it needs (a port, a name, an address) may have been with another service's new one, which is gone now.
    async fn bring_back_late(&self, service: &str) -> Result<(), RollError> {
        let seen = self.observe_old().await?;
        match self.bring_back(service, &seen.instances.iter().collect::<Vec<_>>()).await {
            // It never can: what it shared is gone, or what it mounts, or where it logs to. A run that waited for it would
            // keep the agent from all others, also from the one that mends this.
            Err(RollError::Engine { source, .. }) if never_by_itself(&source) => {
                let text = format!("{service} could not be started again: {}", report::line(&source));
                Ok(self.note(text).await?)
            }
            back => back,
        }
    }

    /// What of the service served before serves again, and who has waited for it goes on. `there`: what the engine shows.
    async fn bring_back(&self, service: &str, there: &[&Instance]) -> Result<(), RollError> {
        let olds = self.olds().filter(|(of, _)| *of == service);
        let olds: Vec<(&Instance, &OldInstance)> = olds
            .filter_map(|(_, old)| Some((*there.iter().find(|instance| instance.id == old.id)?, old)))
            .collect();
        let back = join_all(olds.iter().map(|(instance, old)| async move {
            // It may end again before anything could be written down.
            if old.restarting {
                self.tidy(instance, old).await?;
            }
            self.put_back(instance).await
        }));
        let back = back.await;
        // One that cannot come back keeps no other from being as it was.
        let (mut there, mut failed) = (Vec::new(), Ok(()));
        for (old, back) in olds.into_iter().zip(back) {
            match back {
                Ok(()) => there.push(old),
                Err(error) => failed = Err(error),
            }
        }
        let olds = there;
        let started = olds.iter().filter(|(instance, _)| !instance.running());
        let there = async {
            let settled = join_all(started.map(|(instance, _)| self.settled(instance))).await;
            // Where none is there, whoever waits goes on to wait: it is tried once more.
            let of = olds.iter().map(|(_, old)| old.of.as_deref().unwrap_or(service));
            for service in of.collect::<BTreeSet<&str>>() {
                self.hold.let_back(service).await;
            }
            settled
        };
        let others = olds.iter().filter(|(_, old)| !old.restarting);
        let tidy = join_all(others.map(|(instance, old)| self.tidy(instance, old)));
        let (settled, tidied) = join(there, tidy).await;
        settled.into_iter().collect::<Result<(), _>>()?;
        tidied.into_iter().chain([failed]).collect::<Result<(), _>>().map_err(Self::failed(OLD))
    }

    /// What a one-shot has begun to do to data is not cut off because another service has failed, or the agent: nothing
    /// waits for its end but the record and what is to be reached next.
    async fn let_end(&self, own: &Instance) -> Result<(), JournalError> {
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
    fn has_had_its_time(&self, own: &Instance) -> bool {
        let service = self.desired.services.get(&own.service);
        let age = own.condition.started_at.map(|at| Utc::now().timestamp_millis() - at);
        service.zip(age).is_some_and(|(service, age)| age >= service.gate.timeout.as_millis() as i64)
    }

    /// Requests do not reach it any more. Those that did are answered first, within bounds: for what stops first all
    /// others wait meanwhile, and something newer does too.
    async fn let_finish(&self, own: &Instance) -> Result<(), JournalError> {
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

    async fn remove_own(&self, instance: &Instance) -> Result<(), RollError> {
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
        let service = self.desired.services.get(&instance.service);
        !instance.admitted()
            && !self.stops_first(&instance.service)
            && service.is_some_and(|service| service.gate.probe.is_some() && !service.one_shot)
    }

    async fn keep_own(&self, instance: &Instance, before: &[Instance]) -> Result<(), RollError> {
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

    /// Waits until what was started again answers, so that nobody is told of an old release that is not there yet.
    async fn settled(&self, instance: &Instance) -> Result<(), JournalError> {
        let Some(service) = self.service_before(instance) else { return Ok(()) };
        let passed = match self.address(service, None, &instance.id).await {
            // Who waits for it must not come too early, whatever else is to be reached.
            Ok(address) if self.hold.holds(&instance.service) => {
                let watch = self.watch(service, &instance.id, address, Since::default());
                timeout(LONGEST, watch).await.unwrap_or(Err(RollError::Newer)).map(drop)
            }
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

    async fn put_back(&self, instance: &Instance) -> Result<(), EngineError> {
        if !instance.running() {
            self.engine.start(&instance.id).await?;
        }
        let Some(service) = self.service_before(instance) else { return Ok(()) };
        let known: BTreeSet<&str> =
            instance.endpoints.values().flat_map(|e| e.aliases.iter().map(String::as_str)).collect();
        let names = service.template.networks.iter().flat_map(|used| &used.aliases);
        let hidden = names.into_iter().any(|alias| !known.contains(alias.as_str()));
        if hidden { self.engine.admit(&instance.id, &service.template.networks).await } else { Ok(()) }
    }

    /// Its restart policy and its name, for which no request waits: an engine whose disk is full may start an instance
    /// and still not be able to write these down.
    async fn tidy(&self, instance: &Instance, old: &OldInstance) -> Result<(), EngineError> {
        let service = self.service_before(instance).or_else(|| self.desired.services.get(&instance.service));
        let stopped =
            |roll: &Roll| roll.order == Order::StopFirst && roll.old.iter().any(|old| old.id == instance.id);
        let kept = match service.filter(|_| self.plan.rolls.iter().any(stopped)) {
            Some(service) => self.engine.keep_up(&instance.id, &service.template.restart).await,
            None => Ok(()),
        };
        if instance.name == aside(old) {
            self.engine.rename(&instance.id, &old.name).await?;
        }
        kept
    }

    fn service_before(&self, instance: &Instance) -> Option<&Service> {
        self.before.and_then(|before| before.services.get(&instance.service))
    }
}
