//! Which instances of a service may be asked now. Pure: from what the engine shows, and from what the log of the
//! run in progress says of them.
//!
//! Requests through nginx follow nginx; this is for whoever asks a service directly, and holds to the same: nobody
//! asks an instance that has not passed its gate, nor one that gives way to another.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::model::desired::{Order, Service};
use crate::model::instance::{Health, Instance, Observed};
use crate::model::run::{Entry, RunId};
use crate::model::stripe::Standing;

/// A run in progress, as far as its log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    run: RunId,
    /// Services that get new instances.
    rolled: BTreeSet<String>,
    /// Those of them whose old instances are stopped first.
    stopped: BTreeSet<String>,
    /// New instances, by `STACK-SERVICE-NUMBER`.
    passed: BTreeSet<String>,
    /// Services that an earlier step of the run has brought to their end.
    settled: BTreeSet<String>,
    switched: bool,
    reverting: bool,
}

impl Rolling {
    pub fn new(run: RunId) -> Self {
        let (rolled, stopped, passed, settled) = Default::default();
        Self { run, rolled, stopped, passed, settled, switched: false, reverting: false }
    }

    pub fn run(&self) -> RunId {
        self.run
    }

    /// Takes the next entry of the log; says whether it changes who may be asked.
    pub fn note(&mut self, entry: &Entry) -> bool {
        match entry {
            Entry::Step { .. } => {
                self.settled.append(&mut self.rolled);
                self.stopped.clear();
                self.switched = false;
                false
            }
            Entry::BringingUp { service, order, .. } => {
                self.rolled.insert(service.clone());
                *order == Order::StopFirst.to_string() && self.stopped.insert(service.clone())
            }
            Entry::Passed { service, name, .. } => {
                self.passed.insert(name.clone());
                self.stopped.contains(service)
            }
            Entry::Switched => {
                self.switched = true;
                true
            }
            Entry::Reverting { .. } => {
                self.reverting = true;
                true
            }
            _ => false,
        }
    }

    /// Whether the run has taken the service's old instances away, and its new ones are not there yet.
    fn between(&self, service: &str) -> bool {
        self.stopped.contains(service) && !self.reverting
    }

    fn may_be_asked(&self, instance: &Instance, stack: &str) -> bool {
        let service = instance.service.as_str();
        if instance.run == self.run {
            let name = format!("{stack}-{service}-{}", instance.number);
            let chosen = !self.reverting && (self.switched || self.stopped.contains(service));
            return self.passed.contains(&name) && (chosen || self.settled.contains(service));
        }
        let gives_way = self.switched && self.rolled.contains(service) || self.between(service);
        !gives_way && instance.admitted()
    }
}

/// How a service stands, while `rolling` is under way.
pub fn standing(stack: &str, service: &Service, observed: &Observed, rolling: Option<&Rolling>) -> Standing {
    let name = service.template.service.as_str();
    let instances: Vec<&Instance> = observed.instances.iter().filter(|i| i.service == name).collect();
    let has_names = !service.template.networks.is_empty();
    let here = |instance: &&&Instance| {
        let healthy = !matches!(instance.condition.health, Some(Health::Starting | Health::Unhealthy));
        let chosen = match rolling {
            Some(rolling) => rolling.may_be_asked(instance, stack),
            None => instance.admitted() || !has_names,
        };
        instance.running() && healthy && chosen
    };
    let on_host = service.template.network_mode.as_deref() == Some("host");
    let address = |instance: &&Instance| match on_host {
        true => Some(Ipv4Addr::LOCALHOST),
        false => instance.endpoints.values().find_map(|endpoint| endpoint.address),
    };
    let addresses: Vec<Ipv4Addr> = instances.iter().filter(here).filter_map(address).collect();
    if !addresses.is_empty() {
        return Standing::At(addresses);
    }
    let running = instances.iter().any(|instance| instance.running());
    Standing::Away(match rolling {
        Some(rolling) if rolling.between(name) => "it is being replaced".to_owned(),
        _ if running => "no instance of it is healthy".to_owned(),
        _ => "it does not run".to_owned(),
    })
}

#[cfg(test)]
mod tests;
