//! A route: which requests nginx sends to which service; and what else nginx's configuration depends on.

mod published;
pub mod values;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::nginx::Version;
use super::place::Place;

pub use published::Published;

/// How long a request waits at the agent, at most, while the service that it is for is replaced: what cannot be had
/// soon is refused at once,
pub const WAIT: Duration = Duration::from_secs(30);
/// and then until an instance has taken its connection.
pub const CONNECT: Duration = Duration::from_secs(10);

/// One path (of one host, on one port) that a service answers.
///
/// It is stored in releases: add fields with `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub service: String,
    /// `NAME` of `agent.route.NAME.…`; empty for `agent.route.…`.
    pub name: String,
    /// The first of the route's labels.
    pub place: Place,
    /// The port nginx listens on, in its container.
    pub listen: u16,
    /// Lower case, possibly `*.example.com`; `None` answers for every host that no other route on this port names.
    pub host: Option<String>,
    /// `/shop/` is everything below it, and `/shop` is redirected there. `/shop` is itself and everything below
    /// it, without a redirect (which no webhook sender would follow). Neither is `/shopping`.
    pub path: String,
    /// The service sees `/cart` for `/shop/cart`, and the prefix in `X-Forwarded-Prefix`.
    pub strip: bool,
    /// The port the service listens on.
    pub port: u16,
    pub websocket: bool,
    /// In nginx's words (`10m`); `None` is 10m.
    pub body_size: Option<String>,
    /// How long the service may be silent; `None` is a minute, with `websocket` an hour.
    pub timeout: Option<Duration>,
}

impl Route {
    /// Whether both are for the same requests.
    pub fn takes_the_same(&self, other: &Self) -> bool {
        (self.listen, &self.host, &self.path) == (other.listen, &other.host, &other.path)
    }

    /// Whether it leads the same requests to the same place, wherever its label stands by now.
    pub fn leads_as(&self, other: &Self) -> bool {
        self.unplaced() == other.unplaced()
    }

    pub(super) fn unplaced(&self) -> Self {
        Self { place: Place::default(), ..self.clone() }
    }
}

#[cfg(test)]
impl Route {
    /// At port 80 of nginx to port 8000 of the service.
    pub(crate) fn plain(service: &str, path: &str) -> Self {
        Self {
            service: service.into(),
            name: String::new(),
            place: Place::default(),
            listen: 80,
            host: None,
            path: path.into(),
            strip: false,
            port: 8000,
            websocket: false,
            body_size: None,
            timeout: None,
        }
    }
}

/// What else the text depends on. Stored in releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The operator's own template in place of the built-in one.
    pub template: Option<OwnTemplate>,
    /// Where nginx tells the agent which configuration it answers with; never published on the host.
    pub generation_port: u16,
    /// How long old workers may go on with what they have begun before a reload.
    pub worker_shutdown: Duration,
    /// Listen on `[::]` too. Only of use when nginx is on a network with IPv6, and nginx does not start with it
    /// where the kernel has none.
    pub ipv6: bool,
    /// Of the nginx that is to read the text; unknown is taken for an old one.
    pub version: Option<Version>,
    /// Services that stop first, and whose requests wait meanwhile: nginx counts that as silence of theirs.
    pub waiting: BTreeSet<String>,
    /// Addresses and networks of what stands in front of nginx and says for whom it asks. This and the next two are this
    /// machine's and not the release's: a rollback must not take them away.
    pub trusted: Vec<String>,
    /// The agent's own webhooks.
    pub published: Option<Published>,
    /// The agent's own dashboard.
    pub dashboard: Option<Published>,
}

impl Options {
    /// How long after a switch requests still go by the old configuration, on connections that clients kept:
    /// the instances that it names must live on for as long.
    pub fn linger(&self) -> Duration {
        self.version.and_then(Version::linger).unwrap_or_default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            template: None,
            generation_port: 8099,
            worker_shutdown: Duration::from_secs(30),
            ipv6: false,
            version: None,
            waiting: BTreeSet::new(),
            trusted: Vec::new(),
            published: None,
            dashboard: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTemplate {
    /// For messages.
    pub file: String,
    pub text: String,
}
