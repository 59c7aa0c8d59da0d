//! Addresses for what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::model::desired::{Desired, Service};
use crate::model::instance::Observed;
use crate::plan::address::next_address;

/// Gives every new instance an address of its own on each network that is the agent's to address.
pub(super) struct Addresses<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    pub(super) last: BTreeMap<String, Ipv4Addr>,
    /// Given in this plan: in a small network the round may come back to them.
    fresh: BTreeSet<(String, Ipv4Addr)>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        last: BTreeMap<String, Ipv4Addr>,
    ) -> Self {
        Self { desired, observed, last, fresh: BTreeSet::new() }
    }

    pub(super) fn give(&mut self, service: &Service) -> BTreeMap<String, Ipv4Addr> {
        let free = service.template.networks.iter().filter(|used| used.address.is_none());
        free.filter_map(|used| Some((used.network.clone(), self.on(&used.network)?))).collect()
    }

    fn on(&mut self, network: &str) -> Option<Ipv4Addr> {
        let facts = self.observed.networks.get(network)?;
        let endpoints = self.observed.instances.iter().filter_map(|i| i.endpoints.get(network));
        let fresh = self.fresh.iter().filter(|(name, _)| name == network).map(|(_, address)| *address);
        let used = self.desired.services.values().flat_map(|service| &service.template.networks);
        let fixed = used.filter(|used| used.network == network).filter_map(|used| used.address);
        let taken = endpoints.filter_map(|endpoint| endpoint.address).chain(fresh).chain(fixed).collect();
        let address = next_address(facts, self.last.get(network).copied(), &taken)?;
        self.last.insert(network.to_owned(), address);
        self.fresh.insert((network.to_owned(), address));
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::instance::{NetworkFacts, NetworkUse};

    fn on(network: &str, address: Option<&str>) -> NetworkUse {
        let address = address.map(|address| address.parse().unwrap());
        NetworkUse { network: network.into(), address, ..NetworkUse::default() }
    }

    #[test]
    fn what_the_stack_fixes_for_one_service_is_given_to_no_other() {
        let service = |name: &str, networks| {
            let mut service = Service::plain(name, "f1");
            service.template.networks = networks;
            (name.to_owned(), service)
        };
        let desired = Desired {
            stack: "shop".into(),
            revision: "a".repeat(40).parse().unwrap(),
            services: [
                service("dns", vec![on("inner", Some("10.9.0.2")), on("outer", Some("10.9.0.3"))]),
                service("web", vec![on("inner", None)]),
            ]
            .into(),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: Vec::new(),
            nginx: Default::default(),
        };
        let facts = NetworkFacts {
            addressed: true,
            subnet: Some("10.9.0.0/24".into()),
            gateway: Some("10.9.0.1".parse().unwrap()),
            ip_range: Some("10.9.0.128/25".into()),
        };
        let observed = Observed { networks: [("inner".to_owned(), facts)].into(), ..Observed::default() };
        let mut addresses = Addresses::new(&desired, &observed, BTreeMap::new());
        let given = addresses.give(&desired.services["web"]);
        assert_eq!(given["inner"], Ipv4Addr::new(10, 9, 0, 3));
    }
}
