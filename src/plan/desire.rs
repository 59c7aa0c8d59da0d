//! From a compose project to the desired state: every choice that a roll needs is made here. Pure.

mod in_place;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Revision;
use crate::model::desired::{Desired, Gate, Order, Probe, ProbeKind, Service as DesiredService};
use crate::model::instance::{ImageRef, Ipv6Pool, NetworkSpec, VolumeSpec};
use crate::model::problem::Problem;
use crate::model::project::{Condition, IpamPool, Project, Service};
use crate::model::route::{Options, Route};

use super::fingerprint::{self, Key};
use super::gate::{self, Patience};
use super::labels;
use super::order::order;
use super::stripe;

/// What the world said before the decision: everything is already resolved and here.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub revision: &'a Revision,
    /// By service: a tag made from the inputs for what is built, name and content id for what is pulled.
    pub images: &'a BTreeMap<String, ImageRef>,
    /// Repository files and folders that are mounted, by their path in the repository.
    pub mounted: &'a BTreeMap<String, Mounted>,
    /// The host folder below which folders that change under running instances are made.
    pub in_place: &'a str,
    /// Host paths of secrets and configs, by [`object_key`].
    pub objects: &'a BTreeMap<String, String>,
    pub patience: Patience,
    /// The host folder with nginx's configuration.
    pub proxy_folder: &'a str,
    pub nginx: &'a Options,
    pub key: &'a Key,
}

/// A repository file or folder on the host, at a path that is named after its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub path: String,
    pub is_folder: bool,
}

/// How a secret or config is named in [`Facts::objects`].
pub fn object_key(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// The desired state of a project, or everything that is wrong with it.
pub fn desire(project: &Project, routes: Vec<Route>, facts: &Facts<'_>) -> Result<Desired, Vec<Problem>> {
    let awaited = awaited(project);
    let mut services = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, service) in &project.services {
        match desired_service(project, service, &routes, awaited.contains(name.as_str()), facts) {
            Ok(desired) => {
                services.insert(name.clone(), desired);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let networks = networks(project);
    let (ipv6, waiting) = (over_ipv6(&services, &networks), waiting(&services));
    let nginx = Options { ipv6, waiting, ..facts.nginx.clone() };
    Ok(Desired {
        stack: project.name.clone(),
        revision: facts.revision.clone(),
        services,
        networks,
        volumes: volumes(project),
        routes,
        nginx,
    })
}

/// The engine brings who comes over IPv6 to nginx's own IPv6 address, if it has one.
fn over_ipv6(services: &BTreeMap<String, DesiredService>, networks: &[NetworkSpec]) -> bool {
    let has = |name: &str| networks.iter().any(|network| network.name == name && network.enable_ipv6);
    let proxies = services.values().filter(|service| service.proxy);
    proxies.flat_map(|proxy| &proxy.template.networks).any(|used| has(&used.network))
}

fn waiting(services: &BTreeMap<String, DesiredService>) -> BTreeSet<String> {
    let waiting = services.iter().filter(|(_, service)| service.order == Order::StopFirst && !service.proxy);
    waiting.map(|(name, _)| name.clone()).collect()
}

fn desired_service(
    project: &Project,
    service: &Service,
    routes: &[Route],
    awaited: bool,
    facts: &Facts<'_>,
) -> Result<DesiredService, Vec<Problem>> {
    let one_shot = awaited || gate::one_shot(service).map_err(|problem| vec![problem])?;
    let proxy = service.labels.get(labels::NGINX).is_some_and(|value| value == "true");
    let mut template = template::template(project, service, one_shot, proxy, facts)?;
    let mut in_place = in_place::claimed(service, &mut template, facts)?;
    let mut gate = gate::gate(service, routes, one_shot, facts.patience)?;
    if proxy {
        gate = proxy_gate(gate, facts.nginx.generation_port);
    }
    let replicas = service.replicas();
    let (order, order_reason) = if one_shot {
        (Order::StartFirst, "runs to its end before the switch, and before all that wait for it".to_owned())
    } else {
        order(service, replicas)
    };
    if replicas > 1 && order == Order::StopFirst && service.container_name.is_some() {
        let problem = Problem::new(
            &service.place,
            format!("{} has container_name and {replicas} replicas", service.name),
        )
        .hint("take one of the two away: a name fits one container");
        return Err(vec![problem]);
    }
    let fingerprint = fingerprint::keyed(facts.key, &template)
        .map_err(|error| vec![Problem::new(&service.place, format!("{}: {error}", service.name))])?;
    in_place::settle(&mut in_place, &mut template, facts.in_place, &fingerprint);
    let stripe = stripe::destination(service, routes, one_shot || proxy, &fingerprint)?;
    let known = service.depends_on.iter().filter(|(name, _)| project.services.contains_key(*name));
    let shared: Vec<&str> = template.shares().collect();
    let follows =
        known.clone().filter(|(name, dependency)| dependency.restart || shared.contains(&name.as_str()));
    let follows = follows.map(|(name, _)| name.clone()).collect();
    Ok(DesiredService {
        template,
        fingerprint,
        replicas,
        order,
        order_reason,
        gate,
        one_shot,
        proxy,
        after: known.map(|(name, _)| name.clone()).collect(),
        follows,
        in_place,
        stripe,
    })
}

/// nginx passes when its new workers name the configuration they run.
fn proxy_gate(gate: Gate, generation_port: u16) -> Gate {
    let kind = ProbeKind::Http { path: "/generation".into(), host: None };
    Gate { probe: Some(Probe { port: generation_port, kind }), ..gate }
}

/// Services that others wait for to complete.
fn awaited(project: &Project) -> BTreeSet<&str> {
    let dependencies = project.services.values().flat_map(|service| &service.depends_on);
    dependencies
        .filter(|(_, dependency)| dependency.condition == Condition::CompletedSuccessfully)
        .map(|(name, _)| name.as_str())
        .collect()
}

fn networks(project: &Project) -> Vec<NetworkSpec> {
    let used: BTreeSet<&String> = project.services.values().flat_map(|s| s.networks.keys()).collect();
    let used = project.networks.iter().filter(|(key, _)| used.contains(key));
    used.map(|(key, network)| {
        let (ipv6, ipv4): (Vec<&IpamPool>, Vec<&IpamPool>) =
            network.ipam.iter().partition(|pool| pool.is_ipv6());
        let pool = ipv4.first().copied().cloned().unwrap_or_default();
        NetworkSpec {
            key: key.clone(),
            name: network.name.clone(),
            external: network.external,
            driver: network.driver.clone(),
            driver_opts: network.driver_opts.clone(),
            internal: network.internal,
            attachable: network.attachable,
            enable_ipv6: network.enable_ipv6.unwrap_or(false),
            labels: network.labels.clone(),
            subnet: pool.subnet,
            gateway: pool.gateway,
            ip_range: pool.ip_range,
            ipv6: ipv6.first().map(|pool| Ipv6Pool {
                subnet: pool.subnet.clone().unwrap_or_default(),
                gateway: pool.gateway.clone(),
                ip_range: pool.ip_range.clone(),
            }),
        }
    })
    .collect()
}

fn volumes(project: &Project) -> Vec<VolumeSpec> {
    let volumes = project.volumes.iter();
    volumes
        .map(|(key, volume)| VolumeSpec {
            key: key.clone(),
            name: volume.name.clone(),
            external: volume.external,
            driver: volume.driver.clone(),
            driver_opts: volume.driver_opts.clone(),
            labels: volume.labels.clone(),
        })
        .collect()
}
