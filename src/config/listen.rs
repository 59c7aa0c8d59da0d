//! Where the agent listens by itself, and which addresses cannot be had at once.

use std::net::SocketAddr;

use super::Config;

/// An address that something of the agent's is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub key: &'static str,
    pub what: &'static str,
    pub at: SocketAddr,
}

impl Config {
    /// The addresses that a daemon opens. That of the webhooks has a default, and is opened only if there is a secret by
    /// which to know who comes.
    pub fn listens(&self) -> Vec<Listen> {
        let heard = self.webhook.accepted().next().is_some() || self.stripe.open().next().is_some();
        let all = [
            ("webhook.listen", "webhooks", self.webhook.listen.filter(|_| heard)),
            ("metrics.listen", "metrics", self.metrics.listen),
            ("dashboard.listen", "dashboard", self.dashboard.listen),
        ];
        all.into_iter().filter_map(|(key, what, at)| Some(Listen { key, what, at: at? })).collect()
    }
}
