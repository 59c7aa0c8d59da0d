//! What the engine runs of one stack. The list does not tell names on networks, health or restarts, so each
//! container is looked at; one that goes meanwhile is left out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HealthStatusEnum,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder,
};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::fault::found;
use super::labels::{self, of_stack};
use super::shelf::is_shelved;
use super::{Docker, endpoint, network};
use crate::engine::EngineError;
use crate::model::instance::{Condition, Endpoint, Health, Instance, InstanceId, Observed, Phase};
use crate::model::run::RunId;

const LOOKS_AT_ONCE: usize = 8;

impl Docker {
    pub(super) async fn observe_stack(&self, stack: &str) -> Result<Observed, EngineError> {
        let fault = |error| self.fault(format!("list what runs of {stack}"), error);
        let filter = ListContainersOptionsBuilder::default().all(true).filters(&of_stack(stack)).build();
        let listed = self.client.list_containers(Some(filter)).await.map_err(fault)?;
        let looks = listed.into_iter().filter_map(|container| container.id).map(|id| async move {
            found(self.client.inspect_container(&id, None::<InspectContainerOptions>).await)
        });
        let containers: Vec<_> =
            stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_collect().await.map_err(fault)?;
        let mut seen: Vec<_> = containers.iter().flatten().map(|found| (found, instance(found))).collect();
        seen.sort_by(|(_, a), (_, b)| (&a.service, a.number, &a.id).cmp(&(&b.service, b.number, &b.id)));
        let (failed, instances): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|(found, instance)| is_shelved(found, instance));
        let plain = |seen: Vec<(_, Instance)>| seen.into_iter().map(|(_, instance)| instance).collect();

        let filter = ListNetworksOptionsBuilder::default().filters(&of_stack(stack)).build();
        let networks = self.client.list_networks(Some(filter)).await.map_err(fault)?;
        let networks =
            networks.iter().map(|found| (found.name.clone().unwrap_or_default(), network::facts(found)));

        let filter = ListVolumesOptionsBuilder::default().filters(&of_stack(stack)).build();
        let volumes = self.client.list_volumes(Some(filter)).await.map_err(fault)?.volumes;
        let mut volumes: Vec<_> = volumes.into_iter().flatten().map(|volume| volume.name).collect();
        volumes.sort();
        Ok(Observed {
            instances: plain(instances),
            failed: plain(failed),
            networks: networks.collect(),
            volumes,
        })
    }

    pub(super) async fn look_at(&self, id: &InstanceId) -> Result<Condition, EngineError> {
        let container = self.inspect_own(id, "look at").await?;
        let condition = condition(&container);
        if condition.restarts == 0 || condition.last_exit.is_some() {
            return Ok(condition);
        }
        Ok(Condition { last_exit: self.last_exit(id, container.created).await, ..condition })
    }
}

fn instance(container: &ContainerInspectResponse) -> Instance {
    let none = HashMap::new();
    let labels = container.config.as_ref().and_then(|config| config.labels.as_ref()).unwrap_or(&none);
    let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
    let name = container.name.as_deref().unwrap_or_default();
    Instance {
        id: InstanceId(container.id.clone().unwrap_or_default()),
        name: name.trim_start_matches('/').to_owned(),
        service: text(labels::SERVICE),
        number: text(labels::NUMBER).parse().unwrap_or_default(),
        fingerprint: text(labels::FINGERPRINT),
        run: RunId(text(labels::RUN).parse().unwrap_or_default()),
        revision: text(labels::REVISION),
        image_id: container.image.clone().unwrap_or_default(),
        condition: condition(container),
        endpoints: endpoints(container, &text(labels::NETWORKS)),
        nameless: text(labels::NETWORKS).is_empty(),
        let_lie: let_lie(container),
        hosts: hosts(container),
        volumes: volumes(container),
    }
}

fn let_lie(container: &ContainerInspectResponse) -> bool {
    let policy = container.host_config.as_ref().and_then(|host| host.restart_policy.as_ref()?.name);
    matches!(policy, None | Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY))
}

/// Those that the engine has named: nobody else calls a volume by the 64 digits of a hash.
fn volumes(container: &ContainerInspectResponse) -> BTreeMap<String, String> {
    let mounts = container.mounts.iter().flatten().filter(|mount| mount.rw == Some(true));
    let anonymous = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = mounts.filter_map(|mount| {
        let volume = mount.name.clone().filter(anonymous)?;
        Some((mount.destination.clone()?, volume))
    });
    named.collect()
}

/// One that shares another's network reads the file of that one; the host's is nobody's to write.
fn hosts(container: &ContainerInspectResponse) -> Option<PathBuf> {
    let running = container.state.as_ref().and_then(|state| state.running) == Some(true);
    let mode =
        container.host_config.as_ref().and_then(|host| host.network_mode.as_deref()).unwrap_or_default();
    let own = mode != "host" && !mode.starts_with("container:");
    let path = container.hosts_path.as_deref().filter(|path| running && own && !path.is_empty());
    path.map(PathBuf::from)
}

/// A network the instance belongs to and is not on right now still holds its address for it.
fn endpoints(container: &ContainerInspectResponse, belongs: &str) -> BTreeMap<String, Endpoint> {
    let mut endpoints: BTreeMap<String, Endpoint> = labels::read_networks(belongs)
        .into_iter()
        .map(|(network, address)| (network, Endpoint { address, aliases: Vec::new() }))
        .collect();
    let attached = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    for (network, settings) in attached.into_iter().flatten() {
        let now = settings.ip_address.as_deref().and_then(|address| address.parse().ok());
        let seen = endpoints.entry(network.clone()).or_default();
        seen.address = now.or(seen.address);
        seen.aliases = endpoint::aliases(container, settings);
    }
    endpoints
}

fn condition(container: &ContainerInspectResponse) -> Condition {
    let now = Utc::now().timestamp_millis();
    let state = container.state.clone().unwrap_or_default();
    Condition {
        phase: phase(&state),
        health: state.health.as_ref().and_then(|health| match health.status? {
            HealthStatusEnum::STARTING => Some(Health::Starting),
            HealthStatusEnum::HEALTHY => Some(Health::Healthy),
            HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
            HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
        }),
        restarts: container.restart_count.unwrap_or_default(),
        out_of_memory: state.oom_killed.unwrap_or_default(),
        // Forgotten as soon as it runs again.
        last_exit: state.restarting.filter(|restarting| *restarting).and(state.exit_code),
        error: state.error.unwrap_or_default(),
        pid: state.pid.unwrap_or_default(),
        // Of before the clock was set back: it would stay the newest for as long.
        started_at: state.started_at.as_deref().and_then(millis).filter(|at| *at <= now),
    }
}

/// Before the first start it is the year 1.
fn millis(at: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(at).ok()?.timestamp_millis()).filter(|at| *at > 0)
}

fn phase(state: &ContainerState) -> Phase {
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => Phase::Created,
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => Phase::Running,
        Some(ContainerStateStatusEnum::PAUSED) => Phase::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => Phase::Restarting,
        Some(ContainerStateStatusEnum::EXITED) => Phase::Exited(state.exit_code.unwrap_or_default()),
        Some(
            ContainerStateStatusEnum::REMOVING
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::EMPTY,
        )
        | None => Phase::Dead,
    }
}
