//! Which services of a plan start after which.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::Desired;

use super::Roll;

/// A service starts after all it waits for, and after every one-shot that does not wait for it and that nobody waits for
/// by name; nginx starts last, when it has somebody to send requests to. In a wave one-shots come first: where services
/// change one after another, none does before these have ended.
pub(super) fn set_waves(rolls: &mut [Roll], desired: &Desired) {
    let earlier = earlier(rolls, desired);
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
    for roll in rolls.iter_mut() {
        let proxy = desired.services.get(&roll.service).is_some_and(|service| service.proxy);
        roll.wave = if proxy { last } else { waves.get(&roll.service).copied().unwrap_or(0) };
    }
    let lasts = |roll: &Roll| desired.services.get(&roll.service).is_some_and(|service| !service.one_shot);
    rolls.sort_by(|a, b| (a.wave, lasts(a), &a.service).cmp(&(b.wave, lasts(b), &b.service)));
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
