//! Which addresses nginx sends each service's requests to. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::model::desired::Desired;
use crate::model::instance::Observed;

use super::diff::Plan;
use super::nginx::Upstreams;

/// Once the plan is carried out: the instances that stay, and the new ones.
pub fn planned(desired: &Desired, plan: &Plan, observed: &Observed) -> Upstreams {
    let mut upstreams = standing(desired, observed, |id| {
        plan.rolls.iter().all(|roll| roll.old.iter().all(|old| old.id.0 != id))
    });
    for roll in &plan.rolls {
        let Some(network) = desired.path_to(&roll.service) else { continue };
        let fixed = desired.services.get(&roll.service).and_then(|service| {
            service.template.networks.iter().find(|used| used.network == network)?.address
        });
        let new = roll.new.iter().filter_map(|new| new.addresses.get(network).copied().or(fixed));
        upstreams.entry(roll.service.clone()).or_default().extend(new);
    }
    sorted(upstreams)
}

/// As the engine shows it, without what a plan retires.
pub fn observed(desired: &Desired, observed: &Observed, retired: impl Fn(&str) -> bool) -> Upstreams {
    sorted(standing(desired, observed, |id| !retired(id)))
}

fn standing(desired: &Desired, observed: &Observed, stays: impl Fn(&str) -> bool) -> Upstreams {
    let mut upstreams = Upstreams::new();
    for instance in &observed.instances {
        let Some(network) = desired.path_to(&instance.service) else { continue };
        let address = instance.endpoints.get(network).and_then(|endpoint| endpoint.address);
        if let Some(address) = address
            && stays(&instance.id.0)
            // Of an earlier version, if a run that was cut short has left it to finish.
            && !instance.dismissed()
        {
            upstreams.entry(instance.service.clone()).or_default().push(address);
        }
    }
    upstreams
}

fn sorted(mut upstreams: BTreeMap<String, Vec<Ipv4Addr>>) -> Upstreams {
    for addresses in upstreams.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
    }
    upstreams
}
