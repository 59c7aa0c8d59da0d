//! The stack's networks. One that the agent makes has a subnet of its own with a range for strangers, so that
//! the agent can give fixed addresses from the rest.

use std::net::Ipv6Addr;

use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::Docker;
use super::fault::found;
use super::labels::{self, of_stack, of_thing};
use crate::engine::EngineError;
use crate::model::instance::{Ipv6Pool, NetworkFacts, NetworkSpec};
use crate::model::subnet::Subnet;

/// How often another program may snatch the subnet between finding and taking it.
const SUBNET_TRIES: usize = 5;

impl Docker {
    pub(super) async fn have_network(&self, stack: &str, spec: &NetworkSpec) -> Result<(), EngineError> {
        let act = || format!("make network {}", spec.name);
        let refused = |message: String| Err(EngineError::Refused { act: act(), message });
        match self.find_network(&spec.name).await? {
            Some(_) if spec.external => Ok(()),
            None if spec.external => {
                refused(format!("it is external and does not exist: `docker network create {}`", spec.name))
            }
            Some(there) if !is_of(&there, stack) => refused(format!(
                "one of that name was made by something else: remove it (`docker network rm {}`), or mark it \
                 `external: true`",
                spec.name
            )),
            Some(there) if half_made(&there, spec) => {
                self.remove_network(&spec.name).await?;
                self.make_network(stack, spec).await
            }
            Some(there) => match difference(&there, spec) {
                None => Ok(()),
                Some(what) => refused(format!(
                    "it exists with another {what}, which cannot change while instances use it: `agent down`, \
                     then run again"
                )),
            },
            None => self.make_network(stack, spec).await,
        }
    }

    async fn make_network(&self, stack: &str, spec: &NetworkSpec) -> Result<(), EngineError> {
        if !is_bridge(spec) {
            return self
                .create_network(stack, spec, pool(spec))
                .await
                .map_err(|e| self.network_fault_of(spec, e));
        }
        if spec.subnet.is_some() {
            let pool = with_range(pool(spec));
            return self.create_network(stack, spec, pool).await.map_err(|e| self.network_fault_of(spec, e));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let free = self.free_pool(stack, spec).await?;
            match self.create_network(stack, spec, with_range(free)).await {
                Err(error) if tries < SUBNET_TRIES && error.to_string().contains("overlaps") => {}
                result => return result.map_err(|error| self.network_fault_of(spec, error)),
            }
        }
    }

    /// A free subnet: the engine alone knows all that are taken, so it is asked to make the network without
    /// one. Cut off here, the network is there without a range, and [`half_made`] finds it.
    async fn free_pool(&self, stack: &str, spec: &NetworkSpec) -> Result<Option<IpamConfig>, EngineError> {
        let made = self.create_network(stack, spec, None).await;
        made.map_err(|error| self.network_fault_of(spec, error))?;
        let there = self.find_network(&spec.name).await?;
        self.remove_network(&spec.name).await?;
        let pools = there.and_then(|network| network.ipam).and_then(|ipam| ipam.config).unwrap_or_default();
        Ok(pools.into_iter().find(|pool| subnet_of(pool).is_some()))
    }

    async fn create_network(
        &self,
        stack: &str,
        spec: &NetworkSpec,
        pool: Option<IpamConfig>,
    ) -> Result<(), Error> {
        let pools: Vec<IpamConfig> = pool.into_iter().chain(ipv6_pool(spec)).collect();
        let request = NetworkCreateRequest {
            name: spec.name.clone(),
            driver: spec.driver.clone(),
            internal: Some(spec.internal),
            attachable: Some(spec.attachable),
            enable_ipv6: Some(spec.enable_ipv6),
            options: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(of_thing(stack, &spec.labels, Some((labels::NETWORK, &spec.key)))),
            ipam: (!pools.is_empty()).then(|| Ipam { config: Some(pools), ..Default::default() }),
            ..Default::default()
        };
        self.client.create_network(request).await.map(drop)
    }

    pub(super) async fn drop_networks(&self, stack: &str) -> Result<(), EngineError> {
        let filter = ListNetworksOptionsBuilder::default().filters(&of_stack(stack)).build();
        let listed = self.client.list_networks(Some(filter)).await;
        let listed = listed.map_err(|error| self.fault(format!("list the networks of {stack}"), error))?;
        for name in listed.into_iter().filter_map(|network| network.name) {
            self.remove_network(&name).await?;
        }
        Ok(())
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let removed = found(self.client.remove_network(name).await);
        removed.map(drop).map_err(|error| self.fault(format!("remove network {name}"), error))
    }

    async fn find_network(&self, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
        let looked = found(self.client.inspect_network(name, None::<InspectNetworkOptions>).await);
        looked.map_err(|error| self.fault(format!("look at network {name}"), error))
    }

    fn network_fault_of(&self, spec: &NetworkSpec, error: Error) -> EngineError {
        self.fault(format!("make network {}", spec.name), error)
    }
}

fn is_bridge(spec: &NetworkSpec) -> bool {
    spec.driver.as_deref().is_none_or(|driver| driver == "bridge")
}

fn is_of(network: &NetworkInspect, stack: &str) -> bool {
    network.labels.as_ref().and_then(|labels| labels.get(labels::STACK)).is_some_and(|of| of == stack)
}

/// Made by [`Docker::free_pool`] and not yet made again; with instances on it, it is used as it is.
fn half_made(network: &NetworkInspect, spec: &NetworkSpec) -> bool {
    let pools = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let ranged = pools.into_iter().flatten().any(|pool| is_set(&pool.ip_range));
    let used = network.containers.as_ref().is_some_and(|containers| !containers.is_empty());
    is_bridge(spec) && !ranged && !used
}

/// What the stack says otherwise than the network is.
fn difference(network: &NetworkInspect, spec: &NetworkSpec) -> Option<&'static str> {
    let pools = network.ipam.as_ref().and_then(|ipam| ipam.config.as_deref()).unwrap_or_default();
    let pool = pools.iter().find(|pool| ipv6_subnet(pool).is_none());
    let ipv6 = pools.iter().find_map(ipv6_subnet);
    let has = |value: Option<&String>, wanted: &Option<String>| wanted.is_none() || value == wanted.as_ref();
    let options = network.options.clone().unwrap_or_default();
    if spec.driver.is_some() && network.driver != spec.driver {
        Some("driver")
    } else if network.internal.unwrap_or_default() != spec.internal {
        Some("`internal`")
    } else if network.enable_ipv6.unwrap_or_default() != spec.enable_ipv6 {
        Some("`enable_ipv6`")
    } else if !spec.driver_opts.iter().all(|(key, value)| options.get(key) == Some(value)) {
        Some("`driver_opts`")
    } else if !has(pool.and_then(|pool| pool.subnet.as_ref()), &spec.subnet) {
        Some("subnet")
    } else if !has(pool.and_then(|pool| pool.ip_range.as_ref()), &spec.ip_range) {
        Some("`ip_range`")
    } else if spec.ipv6.as_ref().is_some_and(|wanted| ipv6 != prefix(&wanted.subnet)) {
        Some("IPv6 subnet")
    } else {
        None
    }
}

fn pool(spec: &NetworkSpec) -> Option<IpamConfig> {
    let said = spec.subnet.is_some() || spec.gateway.is_some() || spec.ip_range.is_some();
    said.then(|| IpamConfig {
        subnet: spec.subnet.clone(),
        gateway: spec.gateway.clone(),
        ip_range: spec.ip_range.clone(),
        auxiliary_addresses: None,
    })
}

fn ipv6_pool(spec: &NetworkSpec) -> Option<IpamConfig> {
    let pool = spec.ipv6.clone()?;
    let Ipv6Pool { subnet, gateway, ip_range } = pool;
    Some(IpamConfig { subnet: Some(subnet), gateway, ip_range, auxiliary_addresses: None })
}

fn ipv6_subnet(pool: &IpamConfig) -> Option<(Ipv6Addr, u8)> {
    prefix(pool.subnet.as_deref()?)
}

/// Each address can be written in several ways.
fn prefix(subnet: &str) -> Option<(Ipv6Addr, u8)> {
    let (address, length) = subnet.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

/// Strangers get the upper half, unless the stack says what they get. The gateway is fixed with it: the
/// engine would take it from the range.
fn with_range(pool: Option<IpamConfig>) -> Option<IpamConfig> {
    let mut pool = pool?;
    if let Some(subnet) = subnet_of(&pool) {
        if !is_set(&pool.ip_range) {
            pool.ip_range = subnet.upper_half().map(|half| half.to_string());
        }
        if !is_set(&pool.gateway) {
            let first = subnet.first().to_bits().saturating_add(1);
            pool.gateway = Some(std::net::Ipv4Addr::from_bits(first).to_string());
        }
    }
    Some(pool)
}

fn subnet_of(pool: &IpamConfig) -> Option<Subnet> {
    pool.subnet.as_deref()?.parse().ok()
}

fn is_set(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

/// Labelled networks only come here, and one with a range was made by [`with_range`] or says its own.
pub(super) fn facts(network: &Network) -> NetworkFacts {
    let pools = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let Some(pool) = pools.into_iter().flatten().find(|pool| subnet_of(pool).is_some()) else {
        return NetworkFacts::default();
    };
    let bridge = network.driver.as_deref() == Some("bridge");
    NetworkFacts {
        addressed: bridge && is_set(&pool.ip_range),
        subnet: pool.subnet.clone(),
        gateway: pool.gateway.as_deref().and_then(|gateway| gateway.parse().ok()),
        ip_range: pool.ip_range.clone().filter(|range| !range.is_empty()),
    }
}
