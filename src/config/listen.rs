//! Where the agent listens by itself, and which addresses cannot be had at once.

use std::net::{IpAddr, SocketAddr};

use super::Config;

/// An address that something of the agent's is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub key: &'static str,
    pub what: &'static str,
    pub at: SocketAddr,
}

impl Config {
    /// Whether anybody who comes to the webhooks could be known.
    pub fn hears(&self) -> bool {
        self.webhook.accepted().next().is_some() || self.stripe.open().next().is_some()
    }

    /// The addresses that a daemon opens. That of the webhooks has a default, and is opened only if there is a secret by
    /// which to know who comes.
    pub fn listens(&self) -> Vec<Listen> {
        let all = [
            ("webhook.listen", "webhooks", self.webhook.listen.filter(|_| self.hears())),
            ("metrics.listen", "metrics", self.metrics.listen),
            ("dashboard.listen", "dashboard", self.dashboard.listen),
        ];
        all.into_iter().filter_map(|(key, what, at)| Some(Listen { key, what, at: at? })).collect()
    }
}

/// Whether only one of both can be had: the address that stands for all takes in every other at its port, and that of
/// IPv6 also those of IPv4.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (a == b || all(a, b) || all(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_takes_in_the_others_at_its_port() {
        for (one, other, both) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9090", "0.0.0.0:9090", true),
            ("[::]:9090", "127.0.0.1:9090", true),
            ("[::]:9090", "[::1]:9090", true),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090", true),
            ("0.0.0.0:9090", "[::1]:9090", false),
            ("127.0.0.1:9090", "127.0.0.2:9090", false),
            ("127.0.0.1:9090", "0.0.0.0:9091", false),
            ("127.0.0.1:0", "0.0.0.0:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (both, both), "{one} {other}");
        }
    }
}
