//! Everything back: the run's own instances go, what served before serves again.
//!
//! It looks only at the plan and at what the engine shows, so that it can finish what a killed agent began.

mod own;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::timeout;

use crate::engine::{Engine, EngineError};
use crate::model::class::Class;
use crate::model::desired::{Order, Service};
use crate::model::instance::{Instance, Observed, Phase};
use crate::plan::diff::{OldInstance, Roll};
use crate::report;

use super::bring_up::aside;
use super::callers::leave_callers;
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
    for (services, (gone, back)) in groups.iter().zip(done) {
        results.push(match gone {
            // The run does not wait for that either: healing stops it first. Not what is another service's.
            Err(RollError::Engine { service, source })
                if never_by_itself(&source) && rolling.is_by_itself(services) =>
            {
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

    /// It neither took anything over nor gave anything up.
    fn is_by_itself(&self, services: &BTreeSet<&str>) -> bool {
        let mut rolls = self.plan.rolls.iter().filter(|roll| services.contains(roll.service.as_str()));
        services.len() == 1 && rolls.all(|roll| roll.services().len() == 1)
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
        let olds = olds.filter_map(|(_, old)| Some((*there.iter().find(|it| it.id == old.id)?, old)));
        let mut olds: Vec<(Instance, &OldInstance)> =
            olds.map(|(instance, old)| (instance.clone(), old)).collect();
        for (_, old) in olds.iter().filter(|(instance, _)| self.is_being_stopped(instance)) {
            let service = old.of.as_deref().unwrap_or(service);
            if !self.hold.holds(service) {
                self.hold.hold(service).await;
            }
        }
        let back = join_all(olds.iter_mut().map(|(instance, old)| async move {
            if self.is_being_stopped(instance) {
                self.engine.stop(&instance.id).await?;
                instance.condition.phase = Phase::Exited(0);
            }
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

    /// The agent that is gone had begun to: that may come to its end only now. nginx would have been stopped by then.
    fn is_being_stopped(&self, instance: &Instance) -> bool {
        let since_before = |since: i64| instance.condition.started_at.is_some_and(|at| at < since);
        let kept_up = |service: &Service| {
            !service.proxy && !matches!(service.template.restart.policy.as_str(), "" | "no")
        };
        self.cut_off.is_some_and(since_before)
            && instance.running()
            && instance.let_lie
            && self.service_before(instance).is_some_and(kept_up)
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
