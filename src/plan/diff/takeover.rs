//! What only one service can hold, and what two must not write to, goes from one to another: to a new service from one
//! that is gone (under another name it is the same), and from one that stays. The two cannot run side by side.

use std::cmp::Reverse;

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
    let mut orders = Vec::new();
    for (name, gone) in before.services.iter().filter(|(name, _)| !desired.services.contains_key(*name)) {
        let alone = owns(before, name);
        let claims = rolls.iter().enumerate().filter(|(_, roll)| !roll.new.is_empty());
        let claims = claims.filter_map(|(index, roll)| {
            let service = desired.services.get(&roll.service)?;
            let held = held(&service.template, &gone.template);
            let fresh = !before.services.contains_key(&roll.service) && !service.one_shot;
            let alike = same_program(service, gone) || same_requests(desired, &roll.service, before, name);
            let written = written(service, gone, alike).filter(|_| fresh && alone);
            let strength = (held.is_some(), same_requests(desired, &roll.service, before, name), alike);
            Some((strength, index, held.is_some(), held.or(written)?))
        });
        let mut claims: Vec<_> = claims.collect();
        claims.sort_by_key(|(strength, index, ..)| (Reverse(*strength), *index));
        let mut claims = claims.into_iter().map(|(_, index, held, what)| (index, held, what));
        let Some((taker, _, what)) = claims.next() else { continue };
        let old = taken(removals, observed, name, desired.services.get(&rolls[taker].service));
        if old.is_empty() {
            continue;
        }
        let first = rolls[taker].service.clone();
        let later = claims.filter(|(_, held, _)| *held).map(|(index, ..)| rolls[index].service.clone());
        orders.extend(
            later
                .filter(|then| !desired.before(&first).contains(then.as_str()))
                .map(|then| (first.clone(), then)),
        );
        let (roll, Some(service)) = (&mut rolls[taker], desired.services.get(&first)) else { continue };
        if !service.one_shot {
            roll.order = Order::StopFirst;
            roll.order_reason = format!("takes over {what} from {name}");
        }
        if !before.services.contains_key(&first) && same_program(service, gone) {
            let there: Vec<&Instance> = observed.instances.iter().filter(|i| i.service == *name).collect();
            // Not what it left behind itself when it was last there: the other has written since.
            for (new, left) in roll.new.iter_mut().zip(data(service, &there, &old)) {
                new.volumes = left;
            }
        }
        roll.old.extend(old.into_iter().map(|old| OldInstance { of: Some(name.clone()), ..old }));
    }
    orders
}

/// The instances of a service that is gone; of those that have ended, the one whose name is wanted.
fn taken(
    removals: &mut Vec<Removal>,
    observed: &Observed,
    name: &str,
    taker: Option<&Service>,
) -> Vec<OldInstance> {
    let its = removals.extract_if(.., |removal| removal.service == name);
    let mut old: Vec<OldInstance> = its.flat_map(|removal| removal.old).collect();
    let wanted = taker.and_then(|taker| taker.template.container_name.as_ref());
    let there = observed.instances.iter().filter(|i| i.service == name && i.ended());
    old.extend(there.filter(|i| wanted == Some(&i.name)).map(retiring));
    old
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
            // nginx is replaced last: what requests reach through it cannot wait for that.
            if has.proxy && desired.routes.iter().any(|route| route.service == *taker) {
                continue;
            }
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

/// What both write to, or any port of the host that both may listen on. `alike`: what is no named volume is often mounted by
/// services that have nothing to do with each other.
fn written(one: &Service, other: &Service, alike: bool) -> Option<String> {
    let (one, other, wished) = (&one.template, &other.template, one.order_reason == WISHED);
    let host = |template: &Template| template.network_mode.as_deref() == Some("host");
    if alike && host(one) && host(other) {
        return Some("the host's network".to_owned());
    }
    let theirs: Vec<String> = other.mounts.iter().filter_map(place).collect();
    let places = one.mounts.iter().filter(|mount| alike || matches!(mount, MountSpec::Volume { .. }));
    places.filter_map(place).find(|place| !wished && theirs.contains(place))
}

fn place(mount: &MountSpec) -> Option<String> {
    match mount {
        MountSpec::Volume { name: Some(name), read_only: false, .. } => Some(format!("the volume {name}")),
        MountSpec::Bind { source, read_only: false, .. } => Some(format!("the host's {source}")),
        _ => None,
    }
}

/// Nobody else writes to what it writes to. What several share they may share with one more.
fn owns(before: &Desired, name: &str) -> bool {
    let places = |service: &Service| service.template.mounts.iter().filter_map(place).collect::<Vec<_>>();
    let own = before.services.get(name).map(places).unwrap_or_default();
    let mut others = before.services.iter().filter(|(other, service)| *other != name && !service.one_shot);
    !others.any(|(_, service)| places(service).iter().any(|place| own.contains(place)))
}

/// Requests that went to the one go to the other.
fn same_requests(desired: &Desired, one: &str, before: &Desired, other: &str) -> bool {
    let mut routes = desired.routes.iter().filter(|route| route.service == one);
    routes.any(|route| before.routes.iter().any(|old| old.service == other && old.takes_the_same(route)))
}

/// What one leaves in its anonymous volumes the other can read.
fn same_program(one: &Service, other: &Service) -> bool {
    let (one, other) = (&one.template.image.name, &other.template.image.name);
    let parts = |name: &str| name.rsplit_once(':').map(|(name, tag)| (name.to_owned(), tag.to_owned()));
    // Built here, a tag says from what.
    let built = |tag: &str| tag.len() == 12 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (parts(one), parts(other)) {
        (Some((a, tag)), Some((b, other))) => a == b || tag == other && built(&tag),
        _ => one == other,
    }
}
