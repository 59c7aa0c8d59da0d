//! New instances up and through their gates, wave by wave.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::engine::{Engine, EngineError};
use crate::model::desired::{Order, Service};
use crate::model::instance::{Identity, InstanceId, Observed, RestartSpec};
use crate::model::run::Entry;
use crate::plan::diff::{NewInstance, OldInstance, Roll};

use super::drain::{Drained, Patience};
use super::gate::Since;
use super::{Journal, JournalError, RollError, Rolling};

/// What is open to an instance that stops first may take so long, while all others wait.
pub(super) const FINISH: Duration = Duration::from_secs(1);
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Brings up everything but nginx and what uses it. When it returns well, every new instance has passed its gate and has
/// its names; the old ones still serve. `before`: what was there before anything was touched.
///
/// In a wave, those that start first go together, before those that must stop first: the more has passed
/// before anything is stopped, the fewer failures cost a gap.
pub async fn bring_up<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    before: &Observed,
) -> Result<(), RollError> {
    let mut waiting = Vec::new();
    let early = |roll: &Roll| rolling.desired.services.get(&roll.service).is_some_and(named_from_the_start);
    if rolling.plan.rolls.iter().any(|roll| roll.order == Order::StartFirst && early(roll)) {
        // The engine's name service knows the new ones before they have passed.
        rolling.lead_to_old(before).await;
    }
    for wave in 0..rolling.proxy_wave().unwrap_or_else(|| rolling.waves()) {
        waiting.extend(rolling.raise(wave).await?);
    }
    let Some((first, _)) = waiting.first() else { return Ok(()) };
    // Who has its names may call already: what was there, and what of the run's making has taken its place.
    let calls = |roll: &Roll| {
        roll.order == Order::StopFirst || early(roll) || roll.old.iter().all(|old| !old.serving)
    };
    if rolling.plan.rolls.iter().any(calls) {
        let observed = rolling.engine.observe(&rolling.desired.stack).await;
        let failed = Rolling::<E, J>::failed(&first.template.service);
        rolling.lead_to_old(&observed.map_err(failed)?).await;
    } else {
        rolling.lead_to_old(before).await;
    }
    // Before nginx sends them requests: an instance that is given its names stands still for a moment.
    try_join_all(waiting.iter().map(|(service, id)| rolling.admit(service, id))).await?;
    Ok(())
}

/// Brings up nginx, whose configuration already names the new instances, and then what uses it.
pub async fn bring_up_proxy<E: Engine, J: Journal>(rolling: &Rolling<'_, E, J>) -> Result<(), RollError> {
    for roll in &rolling.plan.rolls {
        let Some(service) = rolling.desired.services.get(&roll.service).filter(|s| s.proxy) else { continue };
        match roll.order {
            Order::StopFirst => rolling.stop_first(roll, service).await?,
            Order::StartFirst => {
                for (service, id) in rolling.start_first(roll, service).await? {
                    rolling.admit(service, &id).await?;
                }
            }
        }
    }
    for wave in rolling.proxy_wave().map_or(0..0, |proxy| proxy + 1..rolling.waves()) {
        for (service, id) in rolling.raise(wave).await? {
            rolling.admit(service, &id).await?;
        }
    }
    Ok(())
}

impl<'r, E: Engine, J: Journal> Rolling<'r, E, J> {
    fn waves(&self) -> usize {
        self.plan.rolls.iter().map(|roll| roll.wave + 1).max().unwrap_or(0)
    }

    /// When nginx is replaced, if it is.
    fn proxy_wave(&self) -> Option<usize> {
        let mut rolls = self.plan.rolls.iter().filter(|roll| !roll.new.is_empty());
        let proxy = |roll: &&Roll| self.desired.services.get(&roll.service).is_some_and(|s| s.proxy);
        rolls.find(proxy).map(|roll| roll.wave)
    }

    /// One wave. Returns those that are still to be admitted.
    async fn raise(&self, wave: usize) -> Result<Vec<(&'r Service, InstanceId)>, RollError> {
        let rolls = self.plan.rolls.iter().filter(|roll| roll.wave == wave);
        let rolls: Vec<(&Roll, &'r Service)> =
            rolls.filter_map(|roll| Some((roll, self.desired.services.get(&roll.service)?))).collect();
        let (last, first): (Vec<_>, Vec<_>) =
            rolls.into_iter().partition(|(roll, _)| roll.order == Order::StopFirst && !roll.old.is_empty());
        let first = first.into_iter().map(|(roll, service)| self.start_first(roll, service));
        let raised = try_join_all(first).await?;
        for (roll, service) in last {
            self.stop_first(roll, service).await?;
        }
        Ok(raised.into_iter().flatten().collect())
    }
    /// Returns those that are still to be admitted.
    async fn start_first<'s>(
        &self,
        roll: &Roll,
        service: &'s Service,
    ) -> Result<Vec<(&'s Service, InstanceId)>, RollError> {
        let replaces = roll.old.iter().any(|old| old.serving);
        // One that has run to its end.
        self.make_way(roll).await?;
        let raised = roll.new.iter().map(|new| async move {
            let id = self.create(roll, service, new).await?;
            self.engine.start(&id).await.map_err(Self::failed(&roll.service))?;
            self.pass(roll, service, new, &id).await?;
            // Where nobody serves yet, those who start after it need it by name.
            if !replaces && !service.one_shot {
                self.admit(service, &id).await?;
            }
            Ok::<_, RollError>((service, id))
        });
        let raised = try_join_all(raised).await?;
        Ok(if replaces && !service.one_shot { raised } else { Vec::new() })
    }

    /// Leaves names that the stack fixes to those that are to have them.
    async fn make_way(&self, roll: &Roll) -> Result<(), RollError> {
        let fixed = |name: &str| {
            self.desired.services.values().any(|s| s.template.container_name.as_deref() == Some(name))
        };
        for old in roll.old.iter().filter(|old| !roll.new.is_empty() && fixed(&old.name)) {
            self.engine.rename(&old.id, &aside(old)).await.map_err(Self::failed(&roll.service))?;
        }
        Ok(())
    }

    /// Everything is prepared before the gap: in it lie only stop, start and the gate. Requests wait meanwhile.
    async fn stop_first(&self, roll: &Roll, service: &Service) -> Result<(), RollError> {
        let failed = Self::failed(&roll.service);
        self.make_way(roll).await?;
        let (mut created, never) = (Vec::new(), RestartSpec::never());
        for new in &roll.new {
            created.push((new, self.create(roll, service, new).await?));
        }
        // An engine that starts in the gap must not start it beside its successor.
        let rest = roll.old.iter().filter(|old| old.serving || old.restarting);
        let rest = rest.map(|old| self.engine.keep_up(&old.id, &never));
        try_join_all(rest).await.map_err(&failed)?;
        let serving = roll.old.iter().any(|old| old.serving);
        let mut held = false;
        for service in roll.services().into_iter().filter(|_| serving) {
            held |= self.hold.holds(service) || self.hold.hold(service).await;
        }
        // Whoever came before has first been let through to the old ones.
        let (begun, mut gap) = (Instant::now(), None);
        // What is open in a namespace of others, the host's for example, is not its own.
        if !service.template.networks.is_empty() {
            self.finish(roll, held).await?;
        }
        if self.newer.is_cancelled() {
            // It may not have finished.
            return Err(RollError::Newer);
        }
        let before = |of: &String| self.before?.services.get(of);
        let stops = roll
            .old
            .iter()
            .map(|old| self.stop(old.of.as_ref().and_then(before).unwrap_or(service), &old.id));
        try_join_all(stops).await.map_err(&failed)?;
        // One first: what it makes of its data is there when the others begin.
        let (first, others) = created.split_at(created.len().min(1));
        for together in [first, others] {
            let raised = together.iter().map(|(new, id)| async move {
                self.engine.start(id).await.map_err(Self::failed(&roll.service))?;
                self.pass(roll, service, new, id).await?;
                if service.one_shot { Ok(()) } else { self.admit(service, id).await }
            });
            try_join_all(raised).await?;
            gap.get_or_insert_with(|| begun.elapsed());
        }
        if let Some(gap) = gap.filter(|_| serving) {
            let (service, millis) = (roll.service.clone(), gap.as_millis() as u64);
            self.journal.write(Entry::Gap { service, millis, held }).await?;
        }
        Ok(())
    }

    /// nginx takes nobody new from then on, and would end only with the last of its connections.
    pub(super) async fn stop(&self, service: &Service, id: &InstanceId) -> Result<(), EngineError> {
        match service.proxy {
            true => self.engine.stop_within(id, FINISH).await,
            false => self.engine.stop(id).await,
        }
    }

    /// What the old ones have begun ends before they are told to stop, if it ends soon: everybody else waits for that.
    /// Where nobody can wait, there is always something begun; it is only counted.
    async fn finish(&self, roll: &Roll, held: bool) -> Result<(), JournalError> {
        let patience = match held {
            true => Patience { most: self.pace.drain.min(FINISH), look: LOOK, yields: true },
            false => Patience { most: Duration::ZERO, look: Duration::ZERO, yields: false },
        };
        let serving = roll.old.iter().filter(|old| old.serving);
        let finished = serving.map(|old| async move {
            if let Drained::Open(connections) = self.drain(&old.id, patience).await {
                let (service, name) = (roll.service.clone(), old.name.clone());
                self.journal.write(Entry::Cut { service, name, connections }).await?;
            }
            Ok(())
        });
        try_join_all(finished).await.map(drop)
    }

    async fn create(
        &self,
        roll: &Roll,
        service: &Service,
        new: &NewInstance,
    ) -> Result<InstanceId, RollError> {
        if self.newer.is_cancelled() {
            return Err(RollError::Newer);
        }
        let identity = Identity {
            stack: self.desired.stack.clone(),
            number: new.number,
            fingerprint: service.fingerprint.clone(),
            run: self.run,
            revision: self.desired.revision.clone(),
            addresses: new.addresses.clone(),
            admitted: named_from_the_start(service),
            volumes: new.volumes.clone(),
        };
        let name = identity.container_name(&service.template);
        let order = roll.order.to_string();
        self.journal.write(Entry::BringingUp { service: roll.service.clone(), name, order }).await?;
        self.engine.create(&service.template, &identity).await.map_err(Self::failed(&roll.service))
    }

    async fn pass(
        &self,
        roll: &Roll,
        service: &Service,
        new: &NewInstance,
        id: &InstanceId,
    ) -> Result<(), RollError> {
        let address = self.address(service, new.addresses.values().next().copied(), id).await?;
        // What a one-shot has begun to do to data is not cut off because something is newer.
        let passed = match service.one_shot {
            true => self.watch(service, id, address, Since::default()).await?,
            false => self.wait_for(service, id, address, Since::default()).await?,
        };
        let name = format!("{}-{}-{}", self.desired.stack, roll.service, new.number);
        let millis = passed.after.as_millis() as u64;
        let entry = Entry::Passed { service: roll.service.clone(), name, millis, warning: passed.warning };
        Ok(self.journal.write(entry).await?)
    }

    /// Where the agent, on the host, reaches the instance. `given`: the address that the agent gave it.
    pub(super) async fn address(
        &self,
        service: &Service,
        given: Option<Ipv4Addr>,
        id: &InstanceId,
    ) -> Result<Option<Ipv4Addr>, RollError> {
        if service.gate.probe.is_none() {
            return Ok(None);
        }
        if service.template.network_mode.as_deref() == Some("host") {
            return Ok(Some(Ipv4Addr::LOCALHOST));
        }
        let fixed = service.template.networks.iter().find_map(|used| used.address);
        if let Some(address) = given.or(fixed) {
            return Ok(Some(address));
        }
        let observed = self
            .engine
            .observe(&self.desired.stack)
            .await
            .map_err(Self::failed(&service.template.service))?;
        let instance = observed.instances.into_iter().find(|instance| instance.id == *id);
        Ok(instance.and_then(|instance| instance.endpoints.values().find_map(|endpoint| endpoint.address)))
    }

    async fn admit(&self, service: &Service, id: &InstanceId) -> Result<(), RollError> {
        if named_from_the_start(service) {
            return Ok(());
        }
        let admitted = self.engine.admit(id, &service.template.networks).await;
        admitted.map_err(Self::failed(&service.template.service))
    }
}

/// Giving an instance its names later takes its published ports down for a moment; and without networks there
/// are no names to give.
fn named_from_the_start(service: &Service) -> bool {
    !service.template.ports.is_empty() || service.template.networks.is_empty()
}

/// The name an old instance bears while its successor has its own.
pub(super) fn aside(old: &OldInstance) -> String {
    format!("{}-before-{}", old.name, old.id.short())
}
