//! What starts after what.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::Desired;

use super::Roll;

/// For each service all that start before it. A service starts after all it waits for, and after every one-shot that
/// does not wait for it and that nobody waits for by name; nginx starts when it has somebody to send requests to, though
/// these may be said to wait for it.
///
/// No service is ever put before itself, so more may be added only where it does not contradict.
pub(super) struct Starts<'a> {
    earlier: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Starts<'a> {
    pub(super) fn new(rolls: &[Roll], desired: &'a Desired) -> Self {
        let names = || desired.services.keys().map(String::as_str);
        let mut starts = Self { earlier: names().map(|name| (name, desired.before(name))).collect() };
        if let Some(proxy) = proxy(rolls, desired) {
            let routed = desired.routes.iter().map(|route| route.service.as_str());
            let mut needed: BTreeSet<&str> = routed.clone().flat_map(|name| desired.before(name)).collect();
            needed.extend(routed);
            needed.remove(proxy);
            for name in &needed {
                starts.earlier.entry(name).or_default().remove(proxy);
            }
            needed.into_iter().for_each(|name| starts.put(name, proxy));
        }
        starts.one_shots(rolls, desired);
        starts
    }

    /// One-shot after one-shot is put before what does not come before it by then, so that where two of them wait for
    /// different services no circle is made.
    fn one_shots(&mut self, rolls: &[Roll], desired: &'a Desired) {
        let runs = |name: &str| rolls.iter().any(|roll| roll.service == name);
        let awaited = |name: &String| desired.services.values().any(|service| service.after.contains(name));
        let alone = desired.services.iter().filter(|(name, service)| service.one_shot && !awaited(name));
        for (shot, _) in alone.filter(|(name, _)| runs(name)) {
            for (other, _) in desired.services.iter().filter(|(_, service)| !service.one_shot) {
                if !self.is_before(other, shot) {
                    self.put(shot, other);
                }
            }
        }
    }

    pub(super) fn is_before(&self, first: &str, then: &str) -> bool {
        self.before(then).any(|name| name == first)
    }

    pub(super) fn before(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.earlier.get(name).into_iter().flatten().copied()
    }

    /// `then` must not come before `first`.
    pub(super) fn put(&mut self, first: &str, then: &str) {
        let Some((first, before)) = self.earlier.get_key_value(first) else { return };
        let before: BTreeSet<&str> = before.iter().chain([first]).copied().collect();
        for (name, earlier) in &mut self.earlier {
            if *name == then || earlier.contains(then) {
                earlier.extend(&before);
            }
        }
    }
}

/// The service that runs nginx, where the plan replaces it.
pub(super) fn proxy<'a>(rolls: &[Roll], desired: &'a Desired) -> Option<&'a str> {
    let new = |name: &str| rolls.iter().any(|roll| roll.service == name && !roll.new.is_empty());
    let mut services = desired.services.iter().filter(|(_, service)| service.proxy);
    services.find(|(name, _)| new(name)).map(|(name, _)| name.as_str())
}
