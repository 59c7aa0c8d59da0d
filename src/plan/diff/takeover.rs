//! What only one service can hold, and what two must not write to, goes from one to another: to a new service from one
//! that is gone (under another name it is the same), and from one that stays. The two cannot run side by side.

use std::collections::BTreeMap;

use crate::model::desired::{Desired, Order, Service};
use crate::model::instance::{Instance, MountSpec, Observed, Template};

use super::super::order::WISHED;
use super::inherit::data;
use super::{OldInstance, Removal, Roll, retiring};

/// Moves what has to give way from the removals to the rolls that need its place. Returns which services start only
/// after which others: (`first`, `then`).
pub(super) fn take_over(
    rolls: &mut [Roll],
    removals: &mut Vec<Removal>,
    desired: &Desired,
    before: Option<&Desired>,
    observed: &Observed,
) -> Vec<(String, String)> {
    let Some(before) = before else { return Vec::new() };
    let mut orders = from_gone(rolls, removals, desired, before, observed);
    orders.extend(from_others(rolls, desired, before));
    orders
}

fn from_gone(
    rolls: &mut [Roll],
    removals: &mut Vec<Removal>,
    desired: &Desired,
    before: &Desired,
    observed: &Observed,
) -> Vec<(String, String)> {
    let (mut orders, mut takers) = (Vec::new(), BTreeMap::new());
    for roll in rolls.iter_mut().filter(|roll| !roll.new.is_empty()) {
        let Some(service) = desired.services.get(&roll.service) else { continue };
        let fresh = !before.services.contains_key(&roll.service);
        for (name, gone) in before.services.iter().filter(|(name, _)| !desired.services.contains_key(*name)) {
            let what = held(&service.template, &gone.template)
                .or_else(|| written(service, gone).filter(|_| fresh && !service.one_shot));
            let Some(what) = what else { continue };
            if let Some(first) = takers.get(name) {
                orders.push((String::clone(first), roll.service.clone()));
                continue;
            }
            let mut old: Vec<OldInstance> = Vec::new();
            removals.retain_mut(|removal| {
                let its = removal.service == *name;
                if its {
                    old.append(&mut removal.old);
                }
                !its
            });
            let there: Vec<&Instance> = observed.instances.iter().filter(|i| i.service == *name).collect();
            // One that has ended still has its name.
            let named =
                |i: &&&Instance| i.ended() && service.template.container_name.as_ref() == Some(&i.name);
            old.extend(there.iter().filter(named).map(|i| retiring(i)));
            if old.is_empty() {
                continue;
            }
            if !service.one_shot {
                roll.order = Order::StopFirst;
                roll.order_reason = format!("takes over {what} from {name}");
            }
            if fresh && same_program(service, gone) {
                // Not what it left behind itself when it was last there: the other has written since.
                for (new, left) in roll.new.iter_mut().zip(data(service, &there, &old)) {
                    new.volumes = left;
                }
            }
            roll.old.extend(old.into_iter().map(|old| OldInstance { of: Some(name.clone()), ..old }));
            takers.insert(name.clone(), roll.service.clone());
        }
    }
    orders
}

/// One that gives up what another is to hold stops before that one starts.
fn from_others(rolls: &mut [Roll], desired: &Desired, before: &Desired) -> Vec<(String, String)> {
    let mut orders = Vec::new();
    let takers: Vec<String> =
        rolls.iter().filter(|roll| !roll.new.is_empty()).map(|roll| roll.service.clone()).collect();
    for giver in rolls.iter_mut().filter(|roll| roll.old.iter().any(|old| old.of.is_none())) {
        let name = &giver.service;
        let (Some(had), Some(has)) = (before.services.get(name), desired.services.get(name)) else {
            continue;
        };
        for taker in takers.iter().filter(|taker| *taker != name) {
            let Some(wants) = desired.services.get(taker) else { continue };
            let given = held(&wants.template, &had.template)
                .filter(|what| held(&wants.template, &has.template).as_ref() != Some(what));
            let Some(what) = given else { continue };
            if giver.order == Order::StartFirst {
                giver.order = Order::StopFirst;
                giver.order_reason = format!("gives {what} up to {taker}");
            }
            if !desired.before(name).contains(taker.as_str()) {
                orders.push((name.clone(), taker.clone()));
            }
        }
    }
    orders
}

/// What only one of the two can have.
fn held(one: &Template, other: &Template) -> Option<String> {
    if one.container_name.is_some() && one.container_name == other.container_name {
        return one.container_name.as_ref().map(|name| format!("the name {name}"));
    }
    let somewhere = |ip: &Option<String>| matches!(ip.as_deref(), None | Some("" | "0.0.0.0" | "::"));
    let ports = one.ports.iter().filter(|port| port.host.is_some());
    let taken = ports.clone().find(|port| {
        other.ports.iter().any(|there| {
            port.host == there.host
                && port.protocol == there.protocol
                && (somewhere(&port.host_ip) || somewhere(&there.host_ip) || port.host_ip == there.host_ip)
        })
    });
    if let Some(port) = taken.and_then(|port| port.host) {
        return Some(format!("port {port}"));
    }
    let fixed = one.networks.iter().find_map(|used| {
        let address = used.address?;
        other
            .networks
            .iter()
            .any(|there| there.network == used.network && there.address == Some(address))
            .then_some(address)
    });
    fixed.map(|address| format!("the address {address}"))
}

/// What both write to, or any port of the host that both may listen on.
fn written(one: &Service, other: &Service) -> Option<String> {
    let (one, other, wished) = (&one.template, &other.template, one.order_reason == WISHED);
    let host = |template: &Template| template.network_mode.as_deref() == Some("host");
    if host(one) && host(other) {
        return Some("the host's network".to_owned());
    }
    let place = |mount: &MountSpec| match mount {
        MountSpec::Volume { name: Some(name), read_only: false, .. } => Some(format!("the volume {name}")),
        MountSpec::Bind { source, read_only: false, .. } => Some(format!("the host's {source}")),
        _ => None,
    };
    let theirs: Vec<String> = other.mounts.iter().filter_map(place).collect();
    one.mounts.iter().filter_map(place).find(|place| !wished && theirs.contains(place))
}

/// What one leaves in its anonymous volumes the other can read.
fn same_program(one: &Service, other: &Service) -> bool {
    let repository = |service: &Service| {
        let name = service.template.image.name.clone();
        name.rsplit_once(':').map_or(name.clone(), |(repository, _)| repository.to_owned())
    };
    repository(one) == repository(other)
}
