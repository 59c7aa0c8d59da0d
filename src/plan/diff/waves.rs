//! Which services of a plan start after which.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::Desired;
use crate::model::route::Route;

use super::Roll;

/// A service starts after all it waits for, and after every one-shot that does not wait for it and that nobody waits for
/// by name; nginx starts when it has somebody to send requests to, and only what waits for nginx after it. In a wave one-shots come first: where services
/// change one after another, none does before these have ended.
///
/// `orders`: more pairs of which one starts after the other.
pub(super) fn set_waves(rolls: &mut [Roll], desired: &Desired, orders: &[(String, String)]) {
    let mut earlier = earlier(rolls, desired);
    for (first, then) in orders {
        earlier.entry(then).or_default().insert(first);
    }
    let mut waves: BTreeMap<String, usize> = BTreeMap::new();
    // No service comes before itself, so as many rounds as rolls are enough.
    for _ in 0..rolls.len() {
        for roll in rolls.iter() {
            let before = earlier.get(roll.service.as_str()).into_iter().flatten();
            let wave = before.filter_map(|name| waves.get(*name)).max().map_or(0, |last| last + 1);
            waves.insert(roll.service.clone(), wave);
        }
    }
    let last = waves.values().max().map_or(0, |last| last + 1);
    let of = |roll: &Roll| desired.services.get(&roll.service);
    let proxy =
        rolls.iter().find(|roll| !roll.new.is_empty() && of(roll).is_some_and(|service| service.proxy));
    let proxy = proxy.map(|roll| roll.service.clone());
    for roll in rolls.iter_mut() {
        let own = waves.get(&roll.service).copied().unwrap_or(0);
        roll.wave = match &proxy {
            Some(proxy) if *proxy == roll.service => last,
            Some(proxy) if waits_for_proxy(desired, &roll.service, proxy, orders) => last + 1 + own,
            _ => own,
        };
    }
    let lasts = |roll: &Roll| desired.services.get(&roll.service).is_some_and(|service| !service.one_shot);
    rolls.sort_by(|a, b| (a.wave, lasts(a), &a.service).cmp(&(b.wave, lasts(b), &b.service)));
}

/// It uses nginx or has something from it, and nobody needs it whom nginx sends requests to.
fn waits_for_proxy(desired: &Desired, name: &str, proxy: &str, orders: &[(String, String)]) -> bool {
    let given = orders.iter().any(|(first, then)| first == proxy && then == name);
    let needed = |route: &Route| route.service == name || desired.before(&route.service).contains(name);
    (given || desired.before(name).contains(proxy)) && !desired.routes.iter().any(needed)
}

/// All that comes before each service. One-shot after one-shot is put before what does not come before it by then, so
/// that where two of them wait for different services no circle is made.
fn earlier<'a>(rolls: &[Roll], desired: &'a Desired) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let names = desired.services.keys().map(String::as_str);
    let mut earlier: BTreeMap<&str, BTreeSet<&str>> =
        names.map(|name| (name, desired.before(name))).collect();
    let runs = |name: &str| rolls.iter().any(|roll| roll.service == name);
    let awaited = |name: &String| desired.services.values().any(|service| service.after.contains(name));
    let alone = desired.services.iter().filter(|(name, service)| service.one_shot && !awaited(name));
    for (shot, _) in alone.filter(|(name, _)| runs(name)) {
        let mut first = earlier.get(shot.as_str()).cloned().unwrap_or_default();
        let others = desired.services.iter().filter(|(_, service)| !service.one_shot);
        let later: BTreeSet<&str> =
            others.map(|(name, _)| name.as_str()).filter(|name| !first.contains(name)).collect();
        first.insert(shot);
        for (name, before) in &mut earlier {
            if later.contains(name) || !later.is_disjoint(before) {
                before.extend(&first);
            }
        }
    }
    earlier
}
