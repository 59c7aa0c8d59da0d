//! Template and identity as the engine's create request. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig, NetworkingConfig,
};

use super::{host, labels};
use crate::model::instance::{HealthSpec, Identity, NetworkUse, Template};

/// `image` is what the container is made from, `image_id` its content id. The host part comes in because its
/// namespaces were resolved by a look at the engine.
pub(super) fn container(
    template: &Template,
    identity: &Identity,
    image: &str,
    image_id: &str,
    host: HostConfig,
) -> ContainerCreateBody {
    let first = template.networks.first().map(|network| {
        let endpoint = endpoint(network, identity);
        NetworkingConfig { endpoints_config: Some(HashMap::from([(network.network.clone(), endpoint)])) }
    });
    let exposed = template.ports.iter().map(|port| format!("{}/{}", port.container, port.protocol));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: template.command.clone(),
        entrypoint: template.entrypoint.clone(),
        env: Some(environment(template, identity)),
        labels: Some(labels::of_instance(template, identity, image_id)),
        exposed_ports: Some(template.exposed.iter().cloned().chain(exposed).collect()),
        healthcheck: template.healthcheck.as_ref().map(health),
        stop_signal: template.stop_signal.clone(),
        stop_timeout: Some(i64::from(template.stop_grace_seconds)),
        user: template.user.clone(),
        working_dir: template.working_dir.clone(),
        hostname: template.hostname.clone(),
        domainname: template.domainname.clone(),
        tty: Some(template.tty),
        open_stdin: Some(template.stdin_open),
        host_config: Some(host),
        networking_config: first,
        ..Default::default()
    }
}

/// The endpoint of a new instance on one network: with its names only when it is admitted from the start.
pub(super) fn endpoint(network: &NetworkUse, identity: &Identity) -> EndpointSettings {
    let address = network.address.or_else(|| identity.addresses.get(&network.network).copied());
    EndpointSettings {
        aliases: identity.admitted.then(|| network.aliases.clone()),
        ipam_config: address.map(|address| EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..Default::default()
        }),
        mac_address: network.mac_address.clone(),
        ..Default::default()
    }
}

/// The identity is written last: an app can trust `AGENT_…` to be the agent's word.
fn environment(template: &Template, identity: &Identity) -> Vec<String> {
    let mut environment = template.environment.clone();
    environment.insert("AGENT_REVISION".to_owned(), identity.revision.to_string());
    environment.insert("AGENT_RUN".to_owned(), identity.run.to_string());
    environment.insert("AGENT_INSTANCE".to_owned(), identity.container_name(template));
    environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Zero and empty mean "as the image says" to the engine, too.
fn health(spec: &HealthSpec) -> HealthConfig {
    HealthConfig {
        test: host::some(&spec.test),
        interval: Some(spec.interval_ns),
        timeout: Some(spec.timeout_ns),
        start_period: Some(spec.start_period_ns),
        start_interval: (spec.start_interval_ns > 0).then_some(spec.start_interval_ns),
        retries: Some(spec.retries),
    }
}
