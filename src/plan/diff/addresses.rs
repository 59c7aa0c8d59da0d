//! Addresses for what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::model::desired::Service;
use crate::model::instance::Observed;
use crate::plan::address::next_address;

/// Gives every new instance an address of its own on each network that is the agent's to address.
pub(super) struct Addresses<'a> {
    observed: &'a Observed,
    pub(super) last: BTreeMap<String, Ipv4Addr>,
    /// Given in this plan: in a small network the round may come back to them.
    fresh: BTreeSet<(String, Ipv4Addr)>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(observed: &'a Observed, last: BTreeMap<String, Ipv4Addr>) -> Self {
        Self { observed, last, fresh: BTreeSet::new() }
    }

    pub(super) fn give(&mut self, service: &Service) -> BTreeMap<String, Ipv4Addr> {
        let free = service.template.networks.iter().filter(|used| used.address.is_none());
        free.filter_map(|used| Some((used.network.clone(), self.on(&used.network)?))).collect()
    }

    fn on(&mut self, network: &str) -> Option<Ipv4Addr> {
        let facts = self.observed.networks.get(network)?;
        let endpoints = self.observed.instances.iter().filter_map(|i| i.endpoints.get(network));
        let fresh = self.fresh.iter().filter(|(name, _)| name == network).map(|(_, address)| *address);
        let taken = endpoints.filter_map(|endpoint| endpoint.address).chain(fresh).collect();
        let address = next_address(facts, self.last.get(network).copied(), &taken)?;
        self.last.insert(network.to_owned(), address);
        self.fresh.insert((network.to_owned(), address));
        Some(address)
    }
}
