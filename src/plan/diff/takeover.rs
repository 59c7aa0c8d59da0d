//! What only one service can hold, and what two must not write to, goes from one to another: from one that is gone (under
//! another name it is the same), and from one that stays. The two cannot run side by side.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::model::desired::{Desired, Order, Service};
use crate::model::instance::{Instance, MountSpec, Template};

use super::super::order::WISHED;
use super::inherit::data;
use super::starts::{Starts, proxy};
use super::{Given, OldInstance, Plan, Roll, retiring};

const HOST: &str = "the host's network";

/// A service that is to have something of what another had.
struct Claim {
    service: String,
    what: String,
    /// A port or a name, which nobody can share; then whoever has the requests now, and the same program.
    strength: (bool, bool, bool),
}

/// Who gives something up stops before anybody starts who is to have it: in its own roll, or, where one of these must come
/// first, in that one's, which takes its place.
pub(super) fn take_over(plan: &mut Plan, given: &Given<'_>, starts: &mut Starts<'_>) {
    let Some(before) = given.before else { return };
    let mut takers = BTreeSet::new();
    for (giver, had) in &before.services {
        let claims = claims(&plan.rolls, given.desired, before, giver, had);
        let Some(best) = claims.first() else { continue };
        let anew = plan.rolls.iter().any(|roll| roll.service == *giver && !roll.new.is_empty());
        let all = || anew.then_some(giver).into_iter().chain(claims.iter().map(|claim| &claim.service));
        let Some(first) = all().find(|name| !all().any(|other| starts.is_before(other, name))) else {
            continue;
        };
        let others: BTreeSet<String> = all().filter(|name| *name != first).cloned().collect();
        if first != giver {
            let old = olds_of(plan, given, giver, first);
            if old.is_empty() {
                continue;
            }
            leave_data(plan, given, giver, &claims, &old);
            let what = claims.iter().find(|claim| claim.service == *first).map_or("", |claim| &claim.what);
            let service = given.desired.services.get(first);
            // A name can be left without stopping.
            let stays = service.is_some_and(|it| it.one_shot && it.template.ports.is_empty());
            if let Some(roll) = roll_of(plan, first) {
                roll.order_reason = format!("takes over {what} from {giver}");
                roll.order = if stays && others.is_empty() { roll.order } else { Order::StopFirst };
                let of = |old: OldInstance| OldInstance { of: old.of.or_else(|| Some(giver.clone())), ..old };
                roll.old.extend(old.into_iter().map(of));
            }
            takers.insert(first.clone());
        }
        if let Some(own) = roll_of(plan, giver).filter(|_| anew && !had.one_shot) {
            own.order = Order::StopFirst;
            own.order_reason = format!("gives {} up to {}", best.what, best.service);
        }
        others.iter().for_each(|then| starts.put(first, then));
        if let Some(roll) = roll_of(plan, first) {
            roll.frees_for.extend(others);
        }
    }
    // What is given up is there again only with a later wave: all that need not wait for that comes before, but for nginx.
    let proxy = proxy(&plan.rolls, given.desired);
    let with_proxy = |name: &str, starts: &Starts<'_>| {
        proxy.is_some_and(|proxy| name == proxy || starts.is_before(proxy, name))
    };
    for taker in &takers {
        for roll in plan.rolls.iter().filter(|roll| roll.service != *taker && !roll.new.is_empty()) {
            if !starts.is_before(taker, &roll.service) && !with_proxy(&roll.service, starts) {
                starts.put(&roll.service, taker);
            }
        }
    }
}

fn roll_of<'p>(plan: &'p mut Plan, service: &str) -> Option<&'p mut Roll> {
    plan.rolls.iter_mut().find(|roll| roll.service == service)
}

/// The strongest first.
fn claims(rolls: &[Roll], desired: &Desired, before: &Desired, giver: &str, had: &Service) -> Vec<Claim> {
    let has = desired.services.get(giver).filter(|has| has.replicas > 0);
    let left = left(before, giver, had, has);
    let takers = rolls.iter().filter(|roll| !roll.new.is_empty() && roll.service != giver);
    let claims = takers.filter_map(|roll| {
        let wants = desired.services.get(&roll.service)?;
        let kept = has.and_then(|has| held(&wants.template, &has.template));
        let held = held(&wants.template, &had.template).filter(|what| Some(what) != kept.as_ref());
        let requests = same_requests(desired, &roll.service, before, giver);
        let alike = requests || same_program(wants, had);
        let strength = (held.is_some(), requests, alike);
        let was = before.services.get(&roll.service).filter(|was| !was.one_shot);
        let wrote = was.map(places).unwrap_or_default();
        let place = || {
            let mut places =
                places(wants).into_iter().filter(|place| left.contains(place) && !wrote.contains(place));
            let beside = wants.one_shot || wants.order == Order::StartFirst && wants.order_reason == WISHED;
            places.find(|place| !beside && (alike || place.is_named)).map(|place| place.text)
        };
        let what = held.or_else(place)?;
        Some(Claim { service: roll.service.clone(), what, strength })
    });
    let mut claims: Vec<Claim> = claims.collect();
    claims.sort_by_key(|claim| Reverse(claim.strength));
    claims
}

/// What is to stop when `first` takes the place of the other: where that is gone, also those of its instances that have
/// ended and have the name that is wanted.
fn olds_of(plan: &mut Plan, given: &Given<'_>, giver: &str, first: &str) -> Vec<OldInstance> {
    if let Some(own) = roll_of(plan, giver) {
        return std::mem::take(&mut own.old);
    }
    let its = plan.removals.extract_if(.., |removal| removal.service == giver);
    let mut old: Vec<OldInstance> = its.flat_map(|removal| removal.old).collect();
    let first = given.desired.services.get(first);
    let wanted = first.and_then(|service| service.template.container_name.as_ref());
    let there = given.observed.instances.iter().filter(|i| i.service == giver && i.ended());
    old.extend(there.filter(|i| wanted == Some(&i.name)).map(|i| retiring(i, given)));
    old
}

/// What one that is gone kept to itself is for the same program under another name. Not what that left behind itself when
/// it was last there: the other has written since.
fn leave_data(plan: &mut Plan, given: &Given<'_>, giver: &str, claims: &[Claim], old: &[OldInstance]) {
    let (Some(before), None) = (given.before, given.desired.services.get(giver)) else { return };
    let heir = claims.iter().find_map(|claim| {
        let service = given.desired.services.get(&claim.service)?;
        let fresh = !before.services.contains_key(&claim.service);
        (fresh && same_program(service, before.services.get(giver)?)).then_some((&claim.service, service))
    });
    let Some((heir, service)) = heir else { return };
    let there: Vec<&Instance> = given.observed.instances.iter().filter(|i| i.service == giver).collect();
    if let Some(roll) = roll_of(plan, heir) {
        for (new, left) in roll.new.iter_mut().zip(data(service, &there, old)) {
            new.volumes = left;
        }
    }
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

/// What a service writes to, or any port of the host that it may listen on.
#[derive(PartialEq)]
struct Place {
    text: String,
    /// What is no named volume is often mounted by services that have nothing to do with each other.
    is_named: bool,
}

fn places(service: &Service) -> Vec<Place> {
    let mounts = service.template.mounts.iter().filter_map(|mount| match mount {
        MountSpec::Volume { name: Some(name), read_only: false, .. } => {
            Some(Place { text: format!("the volume {name}"), is_named: true })
        }
        MountSpec::Bind { source, read_only: false, .. } => {
            Some(Place { text: format!("the host's {source}"), is_named: false })
        }
        _ => None,
    });
    let host = service.template.network_mode.as_deref() == Some("host");
    let host = host.then(|| Place { text: HOST.into(), is_named: false });
    host.into_iter().chain(mounts).collect()
}

/// What it had to itself and has no more. What several wrote to, one more may write to; several on the host's network listen
/// on ports of their own.
fn left(before: &Desired, name: &str, had: &Service, has: Option<&Service>) -> Vec<Place> {
    // Nobody waits for what nginx can write to as all would wait for nginx.
    let mut left = if had.one_shot || had.proxy { Vec::new() } else { places(had) };
    // What runs to its end now writes beside nobody.
    let kept = has.filter(|has| !has.one_shot).map(places).unwrap_or_default();
    left.retain(|place| !kept.contains(place));
    let others = before.services.iter().filter(|(other, service)| *other != name && !service.one_shot);
    let shared: Vec<Place> = others.flat_map(|(_, service)| places(service)).collect();
    left.retain(|place| place.text == HOST || !shared.contains(place));
    left
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
