//! A plan for a machine that cannot hold the old and the new of everything at once: one service after another, each
//! brought to its end before the next begins. Pure; the last step ends in what the plan is for.
//!
//! A one-shot belongs to the step of the service that comes after it: when it fails, that one is not replaced.

use crate::model::desired::Desired;
use crate::model::route::{Options, Route};

use super::diff::{Plan, Roll};

/// One service's part of a plan, with the one-shots before it, and what the stack is after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub services: Vec<String>,
    pub plan: Plan,
    pub desired: Desired,
}

/// The steps of a plan, in its order. nginx and what uses it, what is removed and what changes in place belong to the
/// last one.
pub fn steps(plan: &Plan, desired: &Desired, before: Option<&Desired>) -> Vec<Step> {
    let proxy = |roll: &&Roll| desired.services.get(&roll.service).is_some_and(|service| service.proxy);
    let at = plan.rolls.iter().find(proxy).map_or(usize::MAX, |roll| roll.wave);
    let (last, others): (Vec<&Roll>, Vec<&Roll>) =
        plan.rolls.iter().partition(|roll| proxy(roll) || roll.wave > at);
    let each = groups(&others, desired);
    let count = each.len().max(1);
    let part = |number: usize| {
        let whole = number + 1 == count;
        let mut rolls: Vec<Roll> =
            each.get(number).into_iter().flatten().map(|roll| (*roll).clone()).collect();
        if whole {
            rolls.extend(last.iter().map(|roll| (*roll).clone()));
        }
        let pending = each.iter().skip(number + 1).flatten().chain(last.iter().filter(|_| !whole));
        let pending: Vec<&str> = pending.map(|roll| roll.service.as_str()).collect();
        Step {
            services: rolls.iter().map(|roll| roll.service.clone()).collect(),
            desired: if whole { desired.clone() } else { between(desired, before, &pending) },
            plan: Plan {
                builds: Vec::new(),
                rolls,
                removals: if whole { plan.removals.clone() } else { Vec::new() },
                refreshes: if whole { plan.refreshes.clone() } else { Vec::new() },
                ..plan.clone()
            },
        }
    };
    (0..count).map(part).collect()
}

/// What changes together: a service with the one-shots before it, and with all up to the last one that goes with it, whose
/// old instance could not come back without its own.
fn groups<'a>(rolls: &[&'a Roll], desired: &Desired) -> Vec<Vec<&'a Roll>> {
    let service = |roll: &Roll| desired.services.get(&roll.service);
    let one_shot = |roll: &Roll| service(roll).is_some_and(|service| service.one_shot);
    let mut groups: Vec<Vec<&Roll>> = Vec::new();
    for group in rolls.split_inclusive(|roll| !one_shot(roll)) {
        let goes_with = |leader: &&Roll| {
            group.iter().filter_map(|roll| service(roll)).any(|one| one.follows.contains(&leader.service))
        };
        let first = groups.iter().position(|earlier| earlier.iter().any(goes_with)).unwrap_or(groups.len());
        let together = groups.drain(first..).flatten().chain(group.iter().copied()).collect();
        groups.push(together);
    }
    groups
}

/// Why a plan cannot be carried out in steps, if so.
pub fn inseparable(plan: &Plan, desired: &Desired, before: Option<&Desired>) -> Option<String> {
    if let Some(route) = moved(desired, before) {
        return Some(format!("{} moves to {}", route.path, route.service));
    }
    // The way back from a later step would start what had to give way beside what took its place.
    let moves = |roll: &&Roll| roll.services().len() > 1 || !roll.frees_for.is_empty();
    let roll = plan.rolls.iter().find(moves)?;
    Some(format!("{} {}", roll.service, roll.order_reason))
}

/// A path that one service takes over from another: at no moment between two steps would it have exactly one owner.
fn moved<'a>(desired: &'a Desired, before: Option<&'a Desired>) -> Option<&'a Route> {
    let before = before?;
    let other = |route: &&Route| {
        before.routes.iter().any(|old| old.takes_the_same(route) && old.service != route.service)
    };
    desired.routes.iter().find(other)
}

/// The stack while some services are still what they were: these, nginx, and whatever goes at the end. What nginx has of
/// this machine is no release's.
fn between(desired: &Desired, before: Option<&Desired>, pending: &[&str]) -> Desired {
    let done = |name: &str| {
        let service = desired.services.get(name);
        service.is_some_and(|service| !service.proxy) && !pending.contains(&name)
    };
    let (old, new) = (before.into_iter(), desired);
    let old_services = old.clone().flat_map(|old| &old.services).filter(|(name, _)| !done(name));
    let new_services = new.services.iter().filter(|(name, _)| done(name));
    let old_routes = old.clone().flat_map(|old| &old.routes).filter(|route| !done(&route.service));
    let new_routes = new.routes.iter().filter(|route| done(&route.service));
    let known = |name: &str| new.networks.iter().any(|network| network.name == name);
    let old_networks = old.flat_map(|old| &old.networks).filter(|network| !known(&network.name));
    let Options { trusted, published, dashboard, .. } = new.nginx.clone();
    Desired {
        services: old_services
            .chain(new_services)
            .map(|(name, service)| (name.clone(), service.clone()))
            .collect(),
        routes: old_routes.chain(new_routes).cloned().collect(),
        networks: new.networks.iter().chain(old_networks).cloned().collect(),
        nginx: Options { trusted, published, dashboard, ..before.unwrap_or(new).nginx.clone() },
        ..new.clone()
    }
}

#[cfg(test)]
mod tests;
