//! What the agent asks of an engine and what it sees there: templates, identities, instances.
//!
//! A [`Template`] is the whole rendered configuration of a service; its fingerprint decides whether the
//! service is rolled. An [`Identity`] is what differs between two instances of one template and must
//! therefore never enter the fingerprint.

mod seen;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Revision;
use super::run::RunId;

pub use seen::{Condition, Endpoint, Health, Instance, InstanceId, Phase};

/// Everything an engine needs to create an instance, apart from its [`Identity`]. Nothing is left to decide.
///
/// It is stored in releases, so every field must be readable by later versions: add with `#[serde(default)]`.
/// Durations are nanoseconds where the engine takes nanoseconds, else seconds; sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Template {
    pub service: String,
    pub image: ImageRef,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    /// The user's labels; the engine adds compose's and the agent's own.
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<PublishedPort>,
    /// `8000/tcp`.
    pub exposed: Vec<String>,
    pub mounts: Vec<MountSpec>,
    pub networks: Vec<NetworkUse>,
    /// `host`, `none`, `service:NAME` (resolved by the engine to the instance) …; then `networks` is empty.
    pub network_mode: Option<String>,
    pub healthcheck: Option<HealthSpec>,
    pub restart: RestartSpec,
    pub stop_signal: Option<String>,
    /// How long an instance may take to end after its stop signal; 10 s unless the stack says otherwise.
    pub stop_grace_seconds: u32,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    /// Set when the stack fixes the name: then there can be one instance only.
    pub container_name: Option<String>,
    pub ulimits: BTreeMap<String, (i64, i64)>,
    pub log_driver: Option<String>,
    pub log_options: BTreeMap<String, String>,
    /// `host:address`.
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    pub init: Option<bool>,
    pub tty: bool,
    pub stdin_open: bool,
    pub read_only: bool,
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    /// `HOST:CONTAINER:rwm`.
    pub devices: Vec<String>,
    pub group_add: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub shm_size: Option<u64>,
    pub pid_mode: Option<String>,
    pub ipc_mode: Option<String>,
    pub memory: Option<u64>,
    pub memory_reservation: Option<u64>,
    /// Billionths of a core.
    pub nano_cpus: Option<i64>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i64>,
    pub platform: Option<String>,
    pub depends_on: Vec<String>,
}

impl Template {
    /// The services whose namespaces it shares.
    pub fn shares(&self) -> impl Iterator<Item = &str> {
        let modes = [&self.network_mode, &self.pid_mode, &self.ipc_mode];
        modes.into_iter().flatten().filter_map(|mode| mode.strip_prefix("service:"))
    }
}

/// The image of an instance. `id` is what runs; `name` is what people read, used as the container's image
/// only while it still means `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageRef {
    pub name: String,
    /// The engine's content id (`sha256:…`); empty for an image that is still to be built, whose `name`
    /// is then a tag made from its inputs.
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub container: u16,
    /// `None`: the engine chooses.
    pub host: Option<u16>,
    pub host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MountSpec {
    /// A named volume, by the engine's name; `None` is an anonymous one.
    Volume {
        name: Option<String>,
        target: String,
        read_only: bool,
        nocopy: bool,
    },
    Bind {
        source: String,
        target: String,
        read_only: bool,
        propagation: Option<String>,
        selinux: Option<String>,
        /// Make the source as a folder when it is missing.
        create: bool,
    },
    Tmpfs {
        target: String,
        size: Option<u64>,
        mode: Option<u32>,
    },
}

impl MountSpec {
    /// Instances may write to it, and it outlives them.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Volume { read_only: false, .. } | Self::Bind { read_only: false, .. })
    }

    /// Where in the instance.
    pub fn target(&self) -> &str {
        match self {
            Self::Volume { target, .. } | Self::Bind { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// A network an instance is on, by the engine's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkUse {
    pub network: String,
    /// The names callers use, the service's own included. Held back until the instance is admitted.
    pub aliases: Vec<String>,
    /// Fixed by the stack itself.
    pub address: Option<Ipv4Addr>,
    pub mac_address: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSpec {
    pub test: Vec<String>,
    pub interval_ns: i64,
    pub timeout_ns: i64,
    pub start_period_ns: i64,
    pub start_interval_ns: i64,
    pub retries: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartSpec {
    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub policy: String,
    pub max_retries: i64,
}

impl RestartSpec {
    /// It stays as it ends.
    pub fn never() -> Self {
        Self { policy: "no".to_owned(), max_retries: 0 }
    }
}

/// What is an instance's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Compose's project: the stack's name.
    pub stack: String,
    /// Counts up for ever within a service: compose's container number.
    pub number: u32,
    /// The template's fingerprint.
    pub fingerprint: String,
    pub run: RunId,
    pub revision: Revision,
    /// The address on each network (engine's name) that the agent addresses by itself.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// Callers may find the instance by name from its start: there is no older one they could be using.
    pub admitted: bool,
    /// The anonymous volumes that it takes over from the instance before it, by where they are mounted. Those are left
    /// out for which neither the template nor the image has a place any more.
    pub volumes: BTreeMap<String, String>,
}

impl Identity {
    /// The container's name, as compose would write it.
    pub fn container_name(&self, template: &Template) -> String {
        match &template.container_name {
            Some(name) => name.clone(),
            None => format!("{}-{}-{}", self.stack, template.service, self.number),
        }
    }
}

/// A network to be there before instances are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Compose's key.
    pub key: String,
    /// The engine's name.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    pub labels: BTreeMap<String, String>,
    /// IPv4.
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
    pub ipv6: Option<Ipv6Pool>,
}

/// What a network has beside its IPv4 addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ipv6Pool {
    /// `fd00:1::/64`
    pub subnet: String,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
}

/// A volume to be there before instances are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    pub key: String,
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// What the engine runs of one stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// By service, then number.
    pub instances: Vec<Instance>,
    /// Stopped for good and kept for their logs: no part of the stack any more.
    #[serde(default)]
    pub failed: Vec<Instance>,
    /// The stack's networks that exist, by the engine's name.
    pub networks: BTreeMap<String, NetworkFacts>,
    pub volumes: Vec<String>,
}

/// What of a network matters for giving out addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Created by the agent with a subnet and a range for strangers, so that addresses outside that
    /// range are the agent's to give.
    pub addressed: bool,
    /// `172.20.0.0/16`.
    pub subnet: Option<String>,
    pub gateway: Option<Ipv4Addr>,
    /// Where the engine gives addresses to strangers.
    pub ip_range: Option<String>,
}
