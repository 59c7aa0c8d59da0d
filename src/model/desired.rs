//! The desired state: a stack with every choice made, ready to be compared with what runs.
//!
//! It is stored whole in a release, so a rollback needs neither Git nor network nor build.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Revision;
use super::instance::{NetworkSpec, Template, VolumeSpec};
use super::route::{Options, Route};
use super::stripe::Destination;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    pub stack: String,
    pub revision: Revision,
    pub services: BTreeMap<String, Service>,
    pub networks: Vec<NetworkSpec>,
    pub volumes: Vec<VolumeSpec>,
    pub routes: Vec<Route>,
    #[serde(default)]
    pub nginx: Options,
}

impl Desired {
    /// No service would have to move to get from one to the other.
    pub fn same_services(&self, other: &Self) -> bool {
        self.prints().eq(other.prints())
    }

    /// What is so beside the services' containers is so too: where requests and events go, and what is asked of whom.
    pub fn same_rules(&self, other: &Self) -> bool {
        self.routes == other.routes
            && self.nginx == other.nginx
            && self.services.values().map(Service::rules).eq(other.services.values().map(Service::rules))
    }

    /// What a service waits for, and all that this waits for.
    pub fn before<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut next) = (BTreeSet::new(), vec![name]);
        while let Some(name) = next.pop() {
            let after = self.services.get(name).into_iter().flat_map(|service| &service.after);
            next.extend(after.map(String::as_str).filter(|name| found.insert(*name)));
        }
        found
    }

    /// The services that are the same in another.
    pub fn same_in(&self, other: &Self) -> BTreeSet<String> {
        let same = |name: &str, print: &str| {
            other.services.get(name).is_some_and(|service| service.fingerprint == print)
        };
        self.prints().filter(|(name, print)| same(name, print)).map(|(name, _)| name.to_owned()).collect()
    }

    /// Of these, the ones of which also what is so beside their containers is the same.
    pub fn wholly_same_in(&self, other: &Self) -> BTreeSet<String> {
        let mut same = self.same_in(other);
        same.retain(|name| self.rules_of(name) == other.rules_of(name));
        same
    }

    fn rules_of(&self, name: &str) -> impl PartialEq {
        let service = self.services.get(name)?;
        let routes = self.routes.iter().filter(|route| route.service == name).map(Route::unplaced);
        Some((service.rules(), routes.collect::<Vec<_>>(), service.proxy.then_some(&self.nginx.template)))
    }

    fn prints(&self) -> impl Iterator<Item = (&str, &str)> {
        self.services.iter().map(|(name, service)| (name.as_str(), service.fingerprint.as_str()))
    }

    /// The service that runs nginx, if the stack routes at all.
    pub fn proxy(&self) -> Option<&Service> {
        self.services.values().find(|service| service.proxy)
    }

    /// The network on which nginx reaches a service: one that both are on, `default` before others.
    pub fn path_to(&self, service: &str) -> Option<&str> {
        let proxy = &self.proxy()?.template.networks;
        let app = &self.services.get(service)?.template.networks;
        let shared = |network: &&str| proxy.iter().any(|used| used.network == **network);
        let mut names = app.iter().map(|used| used.network.as_str()).filter(shared);
        let default = format!("{}_default", self.stack);
        names.clone().find(|name| *name == default).or_else(|| names.next())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub template: Template,
    /// Keyed hash of the template: equal fingerprints mean that nothing needs to move.
    pub fingerprint: String,
    pub replicas: u32,
    pub order: Order,
    /// Why this order, in words for people.
    pub order_reason: String,
    pub gate: Gate,
    /// Runs to its end and must succeed.
    pub one_shot: bool,
    /// This is the stack's nginx, which the agent configures.
    #[serde(default)]
    pub proxy: bool,
    /// Services that must have passed their gates before this one starts.
    pub after: Vec<String>,
    /// Services with which it is replaced: it shares a namespace of theirs, or its `depends_on` says `restart`.
    #[serde(default)]
    pub follows: Vec<String>,
    /// What changes under running instances instead of rolling them.
    #[serde(default)]
    pub in_place: Vec<InPlace>,
    /// It takes Stripe's events.
    #[serde(default)]
    pub stripe: Option<Destination>,
}

impl Service {
    /// What is so of it beside its containers.
    fn rules(&self) -> Self {
        Self {
            template: Template::default(),
            fingerprint: String::new(),
            order_reason: String::new(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
impl Service {
    /// One of which nothing is said but its name.
    pub(crate) fn plain(name: &str, fingerprint: &str) -> Self {
        Self {
            template: Template { service: name.into(), ..Template::default() },
            fingerprint: fingerprint.into(),
            replicas: 1,
            order: Order::StartFirst,
            order_reason: String::new(),
            gate: Gate { health: false, probe: None, settle: Duration::ZERO, timeout: Duration::ZERO },
            one_shot: false,
            proxy: false,
            after: Vec::new(),
            follows: Vec::new(),
            in_place: Vec::new(),
            stripe: None,
        }
    }
}

/// A mounted repository folder whose content is exchanged under running instances. Its content is not part of the
/// fingerprint; that it is such a folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPlace {
    /// The path in the container.
    pub target: String,
    /// The host folder that instances mount. It belongs to the fingerprint: instances of another one have another
    /// folder, so that each sees the content it was started for.
    pub folder: String,
    /// The host folder with the content to show, named after that.
    pub content: String,
    /// Sent to the instances after an exchange (`HUP`); `None`: they look again by themselves.
    pub signal: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new instance runs beside the old one until it has passed its gate.
    StartFirst,
    /// The old instance is stopped first and kept until the new one has passed.
    StopFirst,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        })
    }
}

/// What an instance must show before anybody is sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The template has a Docker health check, or (unknown here) the image may have one.
    pub health: bool,
    pub probe: Option<Probe>,
    /// How long it must run without a restart when nothing else can be asked.
    pub settle: Duration,
    pub timeout: Duration,
}

/// A question the agent itself asks an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub port: u16,
    pub kind: ProbeKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProbeKind {
    Tcp,
    /// `GET path` must be answered with 200–399.
    Http {
        path: String,
        /// What the app is asked as; its address where nobody says so.
        #[serde(default)]
        host: Option<String>,
    },
    /// Nobody named a probe path, so any answer below 500 on the route's own path will do.
    Route {
        path: String,
        host: Option<String>,
    },
}
