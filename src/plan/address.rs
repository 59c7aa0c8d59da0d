//! Which address the next instance gets. The agent gives addresses by itself so that a freed one is used
//! again as late as possible, and never by a stranger: a proxy that still holds an old address then finds
//! nobody there, rather than another app that answers 200.
//!
//! It does not remember anything: the caller keeps the last address given per network, and the engine's
//! truth says which are taken.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::model::instance::NetworkFacts;
use crate::model::subnet::Subnet;

/// The first address after `after`, going round, that is the agent's to give and not `taken` (by instances
/// that run or are stopped). `None`: the network is not the agent's to address, or all are taken.
pub fn next_address(
    network: &NetworkFacts,
    after: Option<Ipv4Addr>,
    taken: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    if !network.addressed {
        return None;
    }
    let subnet: Subnet = network.subnet.as_deref()?.parse().ok()?;
    let strangers: Subnet = network.ip_range.as_deref()?.parse().ok()?;
    let after = after.filter(|address| subnet.contains(*address)).unwrap_or(subnet.first());
    let free = |address: &Ipv4Addr| network.gateway != Some(*address) && !taken.contains(address);

    let (first, last) = (subnet.first().to_bits(), subnet.last().to_bits());
    let following = after.to_bits().saturating_add(1)..last;
    let wrapped = first.saturating_add(1)..after.to_bits().saturating_add(1).min(last);
    outside(following, strangers).chain(outside(wrapped, strangers)).map(Ipv4Addr::from_bits).find(free)
}

/// The numbers of a range that are outside a subnet, which is stepped over at once: it may hold millions.
fn outside(range: std::ops::Range<u32>, subnet: Subnet) -> impl Iterator<Item = u32> {
    let below = range.start..range.end.min(subnet.first().to_bits());
    let above = range.start.max(subnet.last().to_bits().saturating_add(1))..range.end;
    below.chain(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(subnet: &str, gateway: &str, ip_range: &str) -> NetworkFacts {
        NetworkFacts {
            addressed: true,
            subnet: Some(subnet.to_owned()),
            gateway: Some(gateway.parse().unwrap()),
            ip_range: Some(ip_range.to_owned()),
        }
    }

    /// Gives out addresses until none is left, each after the one before.
    fn all(network: &NetworkFacts) -> Vec<String> {
        let mut taken = BTreeSet::new();
        let mut after = None;
        while let Some(address) = next_address(network, after, &taken) {
            assert!(taken.insert(address), "{address} given twice");
            after = Some(address);
        }
        taken.iter().map(ToString::to_string).collect()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_lower_half_is_given_without_network_and_gateway() {
        let net = network("10.1.2.0/28", "10.1.2.1", "10.1.2.8/29");
        assert_eq!(all(&net), ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.7"]);
        assert_eq!(all(&network("10.1.2.0/24", "10.1.2.1", "10.1.2.128/25")).len(), 126);
        assert_eq!(all(&network("172.20.0.0/16", "172.20.0.1", "172.20.128.0/17")).len(), 32766);
    }

    #[test]
    fn an_upper_half_is_given_without_the_broadcast_address() {
        let net = network("10.1.2.0/29", "10.1.2.5", "10.1.2.0/30");
        assert_eq!(all(&net), ["10.1.2.4", "10.1.2.6"]);
    }

    #[test]
    fn a_range_in_the_middle_is_stepped_over() {
        let net = network("10.1.2.0/28", "10.1.2.1", "10.1.2.4/30");
        assert_eq!(next_address(&net, Some(ip("10.1.2.3")), &BTreeSet::new()), Some(ip("10.1.2.8")));
        assert_eq!(all(&net).len(), 9);
        let wide = network("10.0.0.0/8", "10.0.0.1", "10.128.0.0/9");
        assert_eq!(next_address(&wide, Some(ip("10.127.255.255")), &BTreeSet::new()), Some(ip("10.0.0.2")));
    }

    #[test]
    fn a_freed_address_comes_back_last() {
        let net = network("10.1.2.0/28", "10.1.2.1", "10.1.2.8/29");
        let taken = BTreeSet::from([ip("10.1.2.4")]);
        assert_eq!(next_address(&net, Some(ip("10.1.2.3")), &taken), Some(ip("10.1.2.5")));
        assert_eq!(next_address(&net, Some(ip("10.1.2.7")), &taken), Some(ip("10.1.2.2")));
        assert_eq!(next_address(&net, Some(ip("192.168.0.1")), &taken), Some(ip("10.1.2.2")));
    }

    #[test]
    fn one_free_address_is_found_from_anywhere() {
        let net = network("10.1.2.0/28", "10.1.2.1", "10.1.2.8/29");
        for free in 2..8 {
            let taken = (2..8).filter(|n| *n != free).map(|n| Ipv4Addr::new(10, 1, 2, n)).collect();
            for after in 0..16 {
                let found = next_address(&net, Some(Ipv4Addr::new(10, 1, 2, after)), &taken);
                assert_eq!(found, Some(Ipv4Addr::new(10, 1, 2, free)), "after {after}");
            }
        }
    }

    #[test]
    fn a_network_of_others_gives_none() {
        let others = NetworkFacts { addressed: false, ..network("10.0.0.0/24", "10.0.0.1", "10.0.0.128/25") };
        assert_eq!(next_address(&others, None, &BTreeSet::new()), None);
        let tiny = network("10.0.0.0/30", "10.0.0.1", "10.0.0.2/31");
        assert_eq!(next_address(&tiny, None, &BTreeSet::new()), None);
    }
}
