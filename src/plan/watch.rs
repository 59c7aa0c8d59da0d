//! Does an instance that is live stay well? One look after the other; pure.
//!
//! Harder to satisfy than the gate, which waits for what is not there yet: here something was there and went.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::desired::{Desired, Service};
use crate::model::instance::{Health, Instance, InstanceId, Observed, Phase};

use super::verdict;

/// Looks in a row: one alone may have met a moment's load.
const MISSES: u32 = 3;
/// When what it depends on is there again, an instance may crash for so many more looks, as it tries too early.
const SETTLES: u32 = 10;
/// In seconds: so soon it answers again. Well below a watch, which goes on to look for what is bad.
pub const RECOVERS: u64 = 30;

/// What was met at the instances of one release so far.
#[derive(Debug, Default)]
pub struct Wellbeing {
    misses: BTreeMap<InstanceId, u32>,
    /// What has been stopped and begins again may be asked so many times in vain.
    begins: BTreeMap<InstanceId, u64>,
}

impl Wellbeing {
    /// Takes one more look, a second after the one before; `probe` is what the agent's own question met, if it asked.
    /// Returns what is wrong; that it has crashed is told by [`Forgiven`].
    pub fn look(
        &mut self,
        service: &Service,
        instance: &Instance,
        probe: Option<&Result<(), String>>,
        begins: &Begins,
    ) -> Option<String> {
        let own = begins.own.contains(&instance.id) || !instance.running();
        if own || begins.excused.contains(&instance.id) {
            let begins = service.gate.timeout.as_secs();
            let patience = if own { begins } else { begins.min(RECOVERS) };
            let left = self.begins.entry(instance.id.clone()).or_default();
            *left = patience.max(*left);
        }
        let sick = instance.condition.health == Some(Health::Unhealthy);
        match (probe, self.begins.get_mut(&instance.id)) {
            (_, Some(left)) if sick && *left > 0 => {
                *left -= 1;
                None
            }
            _ if sick => Some("its health check says unhealthy".into()),
            (Some(Err(_)), Some(left)) if *left > 0 => {
                *left -= 1;
                None
            }
            (Some(Err(met)), _) if instance.running() => {
                let misses = self.misses.entry(instance.id.clone()).or_default();
                *misses += 1;
                (*misses >= MISSES).then(|| format!("{MISSES} times in a row: {met}"))
            }
            (asked, _) => {
                self.misses.remove(&instance.id);
                if asked.is_some_and(Result::is_ok) {
                    self.begins.remove(&instance.id);
                }
                None
            }
        }
    }
}

/// Which instances begin again, as far as one look tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Begins {
    /// These themselves: the engine or a person has restarted them.
    pub own: BTreeSet<InstanceId>,
    /// What these depend on, or the engine under them: it is not their doing if they end.
    pub excused: BTreeSet<InstanceId>,
}

/// What the looks of a watch have met, for the next agent if that has to go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// When the watch began, by which it is known: milliseconds since the Unix epoch.
    pub since: i64,
    /// Which start of the machine it was at the last look.
    pub boot: String,
    pub forgiven: Forgiven,
}

impl Met {
    /// When the watch that began at `since` did so, as the machine is started now.
    pub fn began(&self, since: i64, boot: &str) -> Began {
        match self.since == since {
            true if self.boot == boot => Began::Earlier,
            true => Began::BeforeBoot,
            false => Began::Now,
        }
    }
}

/// When a watch began of which this agent has seen nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    Now,
    /// An agent before this one has looked already.
    Earlier,
    /// And the machine was started anew since.
    BeforeBoot,
}

/// Ends that are no instance's own doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgiven(BTreeMap<InstanceId, Pardon>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pardon {
    restarts: i64,
    /// It stays as it ended, which is for others to mend.
    ended: bool,
    looks_left: u32,
}

impl Forgiven {
    /// Takes one more look at all instances.
    pub fn look(&mut self, observed: &Observed, begins: &Begins) {
        for instance in &observed.instances {
            let left = match begins.excused.contains(&instance.id) {
                true => SETTLES + 1,
                false => self.0.get(&instance.id).map_or(0, |pardon| pardon.looks_left),
            };
            if let Some(looks_left) = left.checked_sub(1) {
                let (restarts, ended) = (instance.condition.restarts, instance.ended());
                self.0.insert(instance.id.clone(), Pardon { restarts, ended, looks_left });
            } else if let Some(pardon) = self.0.get_mut(&instance.id) {
                pardon.ended &= instance.ended();
            }
        }
    }

    /// How an instance ended by its own doing, if it did.
    pub fn crashed(&self, service: &Service, instance: &Instance) -> Option<String> {
        let end = crashed(service, instance)?;
        let pardoned = self.0.get(&instance.id).is_some_and(|pardon| {
            instance.condition.restarts <= pardon.restarts && (pardon.ended || !instance.ended())
        });
        (!pardoned).then_some(end)
    }
}

/// When services did not run, as far as was seen: what restarts, what a person stopped, and what is replaced.
#[derive(Debug, Default)]
pub struct Halts {
    pids: BTreeMap<InstanceId, i64>,
    of: Vec<(String, i64, i64)>,
    since: i64,
    seen_at: i64,
    /// Before the first look.
    first: Option<Began>,
}

impl Halts {
    /// The watch that began at `since` is begun, or gone on with: what was seen of it stays so. Milliseconds since the
    /// Unix epoch.
    pub fn watch(&mut self, since: i64, began: Began, now: i64) {
        if since != self.since {
            *self = Self { since, seen_at: now, first: Some(began), ..Self::default() };
        }
    }

    /// Takes one more look; `away`: the engine did not answer since the one before.
    pub fn look(&mut self, desired: &Desired, observed: &Observed, away: bool, now: i64) -> Begins {
        let (mut own, mut halted) = (BTreeSet::new(), BTreeSet::new());
        let first = self.first.take();
        // Where nothing runs that could show it, the engine was started anew.
        let idle = !observed.instances.iter().any(Instance::running);
        let mut anew = away || first == Some(Began::Earlier) && idle;
        for (name, service) in desired.services.iter().filter(|(_, service)| !service.one_shot) {
            // What has been replaced may come to its end.
            let of = observed.instances.iter().filter(|i| i.service == *name && !i.dismissed());
            let (mut up, mut from) = (0, self.seen_at);
            for instance in of {
                let (condition, id) = (&instance.condition, &instance.id);
                let before = self.pids.insert(id.clone(), condition.pid);
                let begun = condition.started_at.is_some_and(|at| at > self.since);
                let unseen = match first {
                    None => false,
                    // It has begun again while nobody looked. What the engine has restarted since has crashed.
                    Some(Began::Now | Began::Earlier) => begun && condition.restarts == 0,
                    Some(Began::BeforeBoot) => true,
                };
                if unseen {
                    anew = true;
                    from = from.min(self.since);
                }
                let same = !unseen && before.is_none_or(|before| before == condition.pid);
                if instance.running() && same && !away && condition.health != Some(Health::Starting) {
                    up += 1;
                } else {
                    own.insert(id.clone());
                }
            }
            if up < service.replicas {
                halted.insert(name.as_str());
                self.of.push((name.clone(), from, now));
            }
        }
        let excused = |instance: &&Instance| anew || !halted.is_disjoint(&desired.before(&instance.service));
        let excused = observed.instances.iter().filter(excused).map(|instance| instance.id.clone());
        self.seen_at = now;
        Begins { own, excused: excused.collect() }
    }

    /// The same of a look that leaves some out: what the first one tells of these is still to come.
    pub fn look_at_some(&mut self, desired: &Desired, observed: &Observed, away: bool, now: i64) -> Begins {
        let first = self.first;
        let begins = self.look(desired, observed, away, now);
        self.first = first;
        begins
    }

    /// Between which moments a service, or something that it depends on, did not run, and how many seconds it may take
    /// to answer after that.
    pub fn of<'a>(
        &'a self,
        desired: &'a Desired,
        name: &'a str,
    ) -> impl Iterator<Item = (i64, i64, u64)> + 'a {
        let before = desired.before(name);
        let own = desired.services.get(name).map_or(RECOVERS, |service| service.gate.timeout.as_secs());
        self.of.iter().filter_map(move |(of, from, until)| {
            let patience = if of == name { own } else { RECOVERS };
            (of == name || before.contains(of.as_str())).then_some((*from, *until, patience))
        })
    }
}

/// How an instance ended by itself, if it did. What a person ended is not told: see [`stopped_by_hand`].
fn crashed(service: &Service, instance: &Instance) -> Option<String> {
    // Nothing is removed by itself.
    let removed = instance.condition.phase == Phase::Dead;
    if service.one_shot || removed || stopped_by_hand(service, instance) {
        return None;
    }
    verdict::ended(&instance.condition)
}

/// The engine restarts what crashes, so what has ended all the same was ended by a person; under `no`, and after an end
/// with 0 under `on-failure`, nobody can tell.
pub fn stopped_by_hand(service: &Service, instance: &Instance) -> bool {
    let (restart, condition) = (&service.template.restart, &instance.condition);
    let ended = matches!(condition.phase, Phase::Exited(_) | Phase::Paused);
    let restarted = match restart.policy.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let once_more = restart.max_retries == 0 || condition.restarts < restart.max_retries;
            condition.phase == Phase::Paused || condition.phase != Phase::Exited(0) && once_more
        }
        _ => false,
    };
    // What the engine itself could not start, after a reboot for example, it does not try again.
    let refused = !instance.condition.error.is_empty();
    restarted && ended && !refused && !service.one_shot && instance.fingerprint == service.fingerprint
}

#[cfg(test)]
mod tests;
