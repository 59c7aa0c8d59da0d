//! Desired against observed: what to do, in which order, and why; and what is left alone. Pure: the same inputs
//! give the same plan, byte for byte, and a plan applied leaves nothing to plan.

mod addresses;
mod compare;
mod inherit;
mod starts;
mod takeover;
mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::model::Revision;
use crate::model::desired::{Desired, InPlace, Order};
use crate::model::instance::{Instance, InstanceId, Observed, Phase};

use super::explain;
use super::order::WISHED;
use super::watch::stopped_by_hand;
use addresses::Addresses;
use compare::{Compared, Comparison, compare, follow};
use inherit::data;
use starts::Starts;
use takeover::take_over;
use waves::set_waves;

/// Everything one run will do. Nothing is left to decide when it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub revision: Revision,
    pub builds: Vec<Build>,
    /// By wave, then service: a wave starts when the one before it has passed its gates.
    pub rolls: Vec<Roll>,
    pub removals: Vec<Removal>,
    /// New content for folders that running instances have mounted.
    #[serde(default)]
    pub refreshes: Vec<Refresh>,
    pub unchanged: Vec<String>,
    /// What a person changed by hand and a healing run leaves as it is.
    pub drift: Vec<String>,
    /// The last address given on each network, for the next plan.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

impl Plan {
    /// Nothing would be touched.
    pub fn is_empty(&self) -> bool {
        self.rolls.is_empty() && self.removals.is_empty() && self.refreshes.is_empty()
    }
}

/// An image whose inputs were never built here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub tag: String,
    /// More than one when they build the same thing.
    pub services: Vec<String>,
}

/// One service's way from its old instances to its new ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roll {
    pub service: String,
    pub reason: String,
    pub order: Order,
    pub order_reason: String,
    pub wave: usize,
    pub new: Vec<NewInstance>,
    /// What goes once the new ones serve.
    pub old: Vec<OldInstance>,
    /// The services that are to have what its old ones have: these are started when those have stopped.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub frees_for: BTreeSet<String>,
}

impl Roll {
    /// The service, and those whose place it takes: requests for any of them wait until it is there.
    pub fn services(&self) -> BTreeSet<&str> {
        let others = self.old.iter().filter_map(|old| old.of.as_deref());
        others.chain([self.service.as_str()]).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewInstance {
    pub number: u32,
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// The anonymous volumes that it takes over, by where they are mounted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldInstance {
    pub id: InstanceId,
    pub name: String,
    /// It serves now: on failure it must serve again. Not so what an earlier run left to finish its requests.
    pub serving: bool,
    /// The engine starts it again and again: it does not serve, and would as soon as it can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// It was a one-shot: what it kept to itself is of no use to anybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_shot: bool,
    /// The service that it is of, where another takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub service: String,
    pub reason: String,
    pub old: Vec<OldInstance>,
}

/// New content for a folder that running instances have mounted and keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    pub service: String,
    pub what: InPlace,
    /// The host folder with the content that is shown until then; `None` where nothing is.
    pub before: Option<String>,
}

/// Why the plan is made: it decides what a person's hand may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A revision becomes a release: everything becomes as it says.
    Release,
    /// A release that was live is so again: everything becomes as it says, but its one-shots have run.
    Again,
    /// The current release is mended: what a person stopped stays stopped and is reported.
    Heal,
}

/// What the plan is made from.
#[derive(Clone, Debug)]
pub struct Given<'a> {
    pub desired: &'a Desired,
    /// What was desired by the release that runs: for the reasons, and for one-shots, which have run for it.
    pub before: Option<&'a Desired>,
    pub observed: &'a Observed,
    pub purpose: Purpose,
    /// Tags of images to be built: they are not on the engine yet.
    pub missing_images: &'a BTreeSet<String>,
    /// The last address given on each network.
    pub addresses: &'a BTreeMap<String, Ipv4Addr>,
    /// Which content a folder of [`InPlace`] shows, by the folder.
    pub shown: &'a BTreeMap<String, String>,
}

/// The plan from what is to what should be.
pub fn plan(given: &Given<'_>) -> Plan {
    let mut addresses = Addresses::new(given.desired, given.observed, given.addresses.clone());
    let mut plan = Plan {
        revision: given.desired.revision.clone(),
        builds: builds(given),
        rolls: Vec::new(),
        removals: removals(given),
        refreshes: refreshes(given),
        unchanged: Vec::new(),
        drift: Vec::new(),
        addresses: BTreeMap::new(),
    };
    let mut compared = Vec::new();
    for (name, service) in &given.desired.services {
        let seen: Vec<&Instance> = given.observed.instances.iter().filter(|i| i.service == *name).collect();
        // What a person stopped is not mended; its fellows are. The agent keeps what it stops from being started.
        let by_hand =
            |i: &&Instance| given.purpose == Purpose::Heal && !i.let_lie && stopped_by_hand(service, i);
        let (stopped, seen): (Vec<&Instance>, Vec<&Instance>) = seen.into_iter().partition(by_hand);
        plan.drift.extend(stopped.iter().map(|instance| format!("{} was stopped by hand", instance.name)));
        let what = compare(name, service, &seen, stopped.len(), given);
        compared.push(Comparison { name, service, seen, stopped, what });
    }
    follow(&mut compared, given);
    for Comparison { name, service, seen, stopped, what } in compared {
        match what {
            Compared::Unchanged => plan.unchanged.push(name.clone()),
            Compared::Roll { reason, add, old } => {
                let number = seen.iter().chain(&stopped).map(|instance| instance.number).max().unwrap_or(0);
                // One that has ended still has its name, and may come back to its port and its volume.
                let gives_way = add > 0 && !old.is_empty();
                let mut left = data(service, &seen, &old);
                let new: Vec<NewInstance> = (1..=add)
                    .map(|n| NewInstance {
                        number: number + n,
                        addresses: addresses.give(service),
                        volumes: left.next().unwrap_or_default(),
                    })
                    .collect();
                let written = new.iter().find_map(|new| new.volumes.keys().next());
                let (order, order_reason) = match written {
                    _ if add == 0 => (Order::StartFirst, "nothing new is started".into()),
                    _ if !gives_way => (Order::StartFirst, "nothing of it gives way".into()),
                    Some(place) if service.order_reason != WISHED => {
                        (Order::StopFirst, format!("writes to the anonymous volume at {place}"))
                    }
                    _ => (service.order, service.order_reason.clone()),
                };
                plan.rolls.push(Roll {
                    service: name.clone(),
                    reason,
                    order,
                    order_reason,
                    wave: 0,
                    new,
                    old,
                    frees_for: BTreeSet::new(),
                });
            }
        }
    }
    let mut starts = Starts::new(&plan.rolls, given.desired);
    take_over(&mut plan, given, &mut starts);
    set_waves(&mut plan.rolls, given.desired, &starts);
    let Plan { unchanged, refreshes, .. } = &mut plan;
    unchanged.retain(|name| !refreshes.iter().any(|refresh| refresh.service == *name));
    plan.addresses = addresses.last;
    plan
}

fn serving(instance: &Instance) -> bool {
    instance.running() && !instance.dismissed()
}

fn retiring(instance: &Instance, given: &Given<'_>) -> OldInstance {
    let before = given.before.and_then(|before| before.services.get(&instance.service));
    OldInstance {
        id: instance.id.clone(),
        name: instance.name.clone(),
        serving: serving(instance),
        restarting: instance.condition.phase == Phase::Restarting,
        // It may be older than what made its service one.
        one_shot: before.is_some_and(|it| it.one_shot && it.fingerprint == instance.fingerprint),
        of: None,
    }
}

fn builds(given: &Given<'_>) -> Vec<Build> {
    let mut by_tag: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, service) in &given.desired.services {
        let tag = service.template.image.name.as_str();
        if given.missing_images.contains(tag) {
            by_tag.entry(tag).or_default().push(name.clone());
        }
    }
    by_tag.into_iter().map(|(tag, services)| Build { tag: tag.to_owned(), services }).collect()
}

fn removals(given: &Given<'_>) -> Vec<Removal> {
    let mut gone: BTreeMap<&str, Vec<OldInstance>> = BTreeMap::new();
    // What no longer runs is no business of a plan: it is cleaned up once nobody may want it back.
    let there = given.observed.instances.iter().filter(|instance| !instance.ended());
    for instance in there {
        if !given.desired.services.contains_key(&instance.service) {
            gone.entry(&instance.service).or_default().push(retiring(instance, given));
        }
    }
    gone.into_iter()
        .map(|(service, old)| Removal {
            service: service.to_owned(),
            reason: "no longer in the stack".into(),
            old,
        })
        .collect()
}

/// Folders whose content is to be exchanged under somebody; one that nobody has mounted yet is filled when it is.
fn refreshes(given: &Given<'_>) -> Vec<Refresh> {
    let all = given.desired.services.iter().flat_map(|(name, service)| {
        let mounted = given.observed.instances.iter();
        let mounted = mounted.filter(|i| i.service == *name && i.fingerprint == service.fingerprint);
        let in_use = mounted.clone().any(Instance::running);
        let places = service.in_place.iter().filter(move |_| in_use);
        places.map(move |place| (name, place, given.shown.get(&place.folder)))
    });
    all.filter(|(_, place, shown)| *shown != Some(&place.content))
        .map(|(name, place, shown)| Refresh {
            service: name.clone(),
            what: place.clone(),
            before: shown.cloned(),
        })
        .collect()
}

/// Why a plan must not be carried out without a person's word, if so.
pub fn prune_guard(desired: &Desired, before: Option<&Desired>) -> Option<String> {
    let had = before.map_or(0, |before| before.services.len());
    if desired.services.is_empty() {
        return Some("the stack has no services any more".into());
    }
    let kept = |name: &&String| desired.services.contains_key(*name);
    let lost = before.map_or(0, |before| before.services.keys().filter(|name| !kept(name)).count());
    (had > 0 && lost * 2 > had).then(|| format!("the stack lost {lost} of its {had} services"))
}

#[cfg(test)]
mod tests;
