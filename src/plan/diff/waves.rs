//! Which services of a plan start together.

use std::collections::BTreeMap;

use crate::model::desired::Desired;

use super::Roll;
use super::starts::{Starts, proxy};

/// nginx has a wave to itself, after all but what waits for it. In a wave one-shots come first: where services change one
/// after another, none does before these have ended.
pub(super) fn set_waves(rolls: &mut [Roll], desired: &Desired, starts: &Starts<'_>) {
    let mut waves: BTreeMap<String, usize> = BTreeMap::new();
    // No service comes before itself, so as many rounds as rolls are enough.
    for _ in 0..rolls.len() {
        for roll in rolls.iter() {
            let before = starts.before(&roll.service);
            let wave = before.filter_map(|name| waves.get(name)).max().map_or(0, |last| last + 1);
            waves.insert(roll.service.clone(), wave);
        }
    }
    if let Some(proxy) = proxy(rolls, desired) {
        let late = |name: &str| name == proxy || starts.is_before(proxy, name);
        let early = waves.iter().filter(|(name, _)| !late(name)).map(|(_, wave)| wave + 1).max();
        let own = waves.get(proxy).copied().unwrap_or(0);
        let shift = early.unwrap_or(0).saturating_sub(own);
        waves.iter_mut().filter(|(name, _)| late(name)).for_each(|(_, wave)| *wave += shift);
    }
    for roll in rolls.iter_mut() {
        roll.wave = waves.get(&roll.service).copied().unwrap_or(0);
    }
    let lasts = |roll: &Roll| desired.services.get(&roll.service).is_some_and(|service| !service.one_shot);
    rolls.sort_by(|a, b| (a.wave, lasts(a), &a.service).cmp(&(b.wave, lasts(b), &b.service)));
}
