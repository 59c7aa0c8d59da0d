//! Giving an instance its service's names on its networks, and taking them away again.
//!
//! The engine cannot change the names of an endpoint: the instance leaves the network and joins it again at
//! the same address. Established connections outlive that (one retransmission), but while it is off the
//! network, about a tenth of a second, every connection the instance itself opens would fail with "network
//! is unreachable". So it is frozen meanwhile, and sees nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, NetworkConnectRequest,
    NetworkDisconnectRequest,
};

use super::{Docker, labels};
use crate::engine::EngineError;
use crate::model::instance::{InstanceId, NetworkUse};

/// One network to leave and join again.
struct Change {
    network: String,
    /// Whether the instance is on it now; not so after a crash between leaving and joining.
    attached: bool,
    endpoint: EndpointSettings,
}

impl Docker {
    /// Afterwards the instance is on all its networks, under exactly the names in `names` (none where a
    /// network is not in it), and is not frozen, whatever an earlier call that was cut off left behind.
    pub(super) async fn rename_endpoints(
        &self,
        id: &InstanceId,
        names: &[NetworkUse],
    ) -> Result<(), EngineError> {
        let container = self.inspect_own(id, "look at").await?;
        let state = container.state.clone().unwrap_or_default();
        let (running, paused) = (state.running == Some(true), state.paused == Some(true));
        let changes = changes(&container, names);
        if changes.is_empty() && !paused {
            return Ok(());
        }
        // A task of its own, so that a caller who gives up cannot leave it frozen or off its networks.
        let (docker, id) = (self.clone(), id.clone());
        let work = tokio::spawn(async move {
            // A container engine without a freezer refuses; then the gap is visible, but short.
            let frozen = paused || running && docker.client.pause_container(&id.0).await.is_ok();
            let result = docker.rejoin(&id, changes).await;
            if frozen {
                let thawed = docker.client.unpause_container(&id.0).await;
                thawed.map_err(|error| docker.fault(format!("unpause {}", id.short()), error))?;
            }
            result
        });
        work.await.unwrap_or_else(|error| {
            Err(EngineError::Other { act: "change an instance's names".to_owned(), source: error.into() })
        })
    }

    async fn rejoin(&self, id: &InstanceId, changes: Vec<Change>) -> Result<(), EngineError> {
        for Change { network, attached, endpoint } in changes {
            if attached {
                let leave = NetworkDisconnectRequest { container: id.0.clone(), force: Some(false) };
                let left = self.client.disconnect_network(&network, leave).await;
                left.map_err(|error| self.network_fault("take", id, "off", &network, error))?;
            }
            let join = NetworkConnectRequest { container: id.0.clone(), endpoint_config: Some(endpoint) };
            let joined = self.client.connect_network(&network, join).await;
            joined.map_err(|error| self.network_fault("put", id, "on", &network, error))?;
        }
        Ok(())
    }

    fn network_fault(
        &self,
        verb: &str,
        id: &InstanceId,
        side: &str,
        network: &str,
        error: Error,
    ) -> EngineError {
        self.fault(format!("{verb} {} {side} network {network}", id.short()), error)
    }
}

fn changes(container: &ContainerInspectResponse, names: &[NetworkUse]) -> Vec<Change> {
    let label = container.config.as_ref().and_then(|config| config.labels.as_ref()?.get(labels::NETWORKS));
    let belongs = label.map(|text| labels::read_networks(text)).unwrap_or_default();
    let endpoints = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let endpoints: BTreeMap<_, _> = endpoints.into_iter().flatten().collect();

    let mut changes = Vec::new();
    for (network, address) in belongs {
        let wanted = names.iter().find(|name| name.network == network);
        let wanted: &[String] = wanted.map(|name| name.aliases.as_slice()).unwrap_or_default();
        let current = endpoints.get(&network).copied();
        if current.is_some_and(|endpoint| same(&aliases(container, endpoint), wanted)) {
            continue;
        }
        let endpoint = again(current, address, wanted);
        changes.push(Change { network, attached: current.is_some(), endpoint });
    }
    changes
}

/// The endpoint as it was, with other names.
fn again(
    current: Option<&EndpointSettings>,
    address: Option<Ipv4Addr>,
    aliases: &[String],
) -> EndpointSettings {
    let fixed = address
        .map(|address| EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..Default::default() });
    let ipam = current.and_then(|endpoint| endpoint.ipam_config.clone()).or(fixed);
    // Peers hold the address's MAC in their tables for up to a minute.
    let mac = current.and_then(|endpoint| endpoint.mac_address.clone()).filter(|mac| !mac.is_empty());
    EndpointSettings {
        aliases: Some(aliases.to_vec()),
        ipam_config: ipam,
        mac_address: mac,
        ..Default::default()
    }
}

/// The names given to an endpoint. Older engines add the container's short id to them.
pub(super) fn aliases(container: &ContainerInspectResponse, endpoint: &EndpointSettings) -> Vec<String> {
    let id = container.id.as_deref().unwrap_or_default();
    let given = endpoint.aliases.iter().flatten().filter(|alias| id.get(..12) != Some(alias.as_str()));
    given.cloned().collect()
}

fn same(left: &[String], right: &[String]) -> bool {
    left.iter().collect::<BTreeSet<_>>() == right.iter().collect::<BTreeSet<_>>()
}
