//! A compose project after loading: interpolated, merged, canonical, typed. Shapes follow the Compose
//! Specification; durations are [`std::time::Duration`], sizes are bytes.
//!
//! Nothing here knows how the text looked; only [`Place`]s remain, for messages.

use std::collections::BTreeMap;
use std::time::Duration;

use super::place::Place;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Project {
    pub name: String,
    pub services: BTreeMap<String, Service>,
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    pub secrets: BTreeMap<String, FileObject>,
    pub configs: BTreeMap<String, FileObject>,
}

/// One entry of `services`. Absent keys are `None` or empty: nothing is defaulted that the specification
/// leaves to the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    pub name: String,
    pub place: Place,
    pub build: Option<Build>,
    pub image: Option<String>,
    pub pull_policy: Option<String>,
    pub platform: Option<String>,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    /// `None` as a value: the variable is passed through from the environment and was not set there.
    pub environment: BTreeMap<String, Option<String>>,
    pub ports: Vec<Port>,
    pub expose: Vec<String>,
    pub volumes: Vec<Mount>,
    /// Never empty unless `network_mode` is set: a service without `networks` is on `default`.
    pub networks: BTreeMap<String, Attachment>,
    pub network_mode: Option<String>,
    pub depends_on: BTreeMap<String, Dependency>,
    pub healthcheck: Option<Healthcheck>,
    pub restart: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Where each label was written, for messages about it.
    pub label_places: BTreeMap<String, Place>,
    pub deploy: Option<Deploy>,
    pub profiles: Vec<String>,
    pub secrets: Vec<FileGrant>,
    pub configs: Vec<FileGrant>,
    pub stop_signal: Option<String>,
    pub stop_grace_period: Option<Duration>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub container_name: Option<String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub logging: Option<Logging>,
    /// `host=address`, sorted.
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub init: Option<bool>,
    pub tty: bool,
    pub stdin_open: bool,
    pub tmpfs: Vec<String>,
    pub read_only: bool,
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub devices: Vec<Device>,
    pub group_add: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub shm_size: Option<u64>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub mem_limit: Option<u64>,
    pub mem_reservation: Option<u64>,
    pub cpus: Option<f64>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i64>,
    pub scale: Option<u32>,
}

impl Service {
    /// How many instances are asked for.
    pub fn replicas(&self) -> u32 {
        let deploy = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(deploy).unwrap_or(1)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    pub place: Place,
    /// Folder relative to the repository's root, no leading or trailing slash; empty is the root itself.
    pub context: String,
    /// Relative to the context, as written; `Dockerfile` when absent.
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    /// An argument that takes its value from the environment and is not set there is left out.
    pub args: BTreeMap<String, String>,
    pub target: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub cache_from: Vec<String>,
    pub network: Option<String>,
    pub shm_size: Option<u64>,
    pub extra_hosts: Vec<String>,
    pub pull: bool,
    pub no_cache: bool,
    pub tags: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Port {
    pub place: Place,
    /// Container port.
    pub target: u16,
    /// Host port or range, as text; `None` lets the engine choose.
    pub published: Option<String>,
    pub host_ip: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `ingress` or `host`.
    pub mode: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    pub place: Place,
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    /// `bind.propagation`, `z`/`Z`, `nocopy`, `subpath` and their like, canonical.
    pub options: MountOptions,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MountSource {
    /// A key of `volumes`.
    Volume(String),
    /// A volume without a name.
    Anonymous,
    /// A file or folder of the repository, relative to its root.
    Repository(String),
    /// An absolute path of the host.
    Host(String),
    Tmpfs,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct MountOptions {
    pub propagation: Option<String>,
    /// `z` or `Z`.
    pub selinux: Option<String>,
    pub create_host_path: bool,
    pub nocopy: bool,
    pub subpath: Option<String>,
    pub tmpfs_size: Option<u64>,
    pub tmpfs_mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    pub place: Place,
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub mac_address: Option<String>,
    pub priority: i64,
}

/// A device of the host in the container.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    pub place: Place,
    pub source: String,
    pub target: String,
    /// Some of `rwm`.
    pub permissions: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub place: Place,
    pub condition: Condition,
    pub restart: bool,
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Started,
    Healthy,
    CompletedSuccessfully,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]` or `["NONE"]`; empty: the image's own.
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub retries: Option<i64>,
    pub disable: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deploy {
    /// Only `replicated` is accepted.
    pub mode: Option<String>,
    pub replicas: Option<u32>,
    pub update_config: Option<UpdateConfig>,
    pub limits: Option<Resources>,
    pub reservations: Option<Resources>,
    pub restart_policy: Option<RestartPolicy>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateConfig {
    pub place: Place,
    /// `start-first` or `stop-first`.
    pub order: Option<String>,
    pub parallelism: Option<u64>,
    pub delay: Option<Duration>,
    pub monitor: Option<Duration>,
    pub failure_action: Option<String>,
    pub max_failure_ratio: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub cpus: Option<f64>,
    pub memory: Option<u64>,
    pub pids: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    pub condition: Option<String>,
    pub max_attempts: Option<u64>,
    pub delay: Option<Duration>,
    pub window: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}

/// What a service is given of a secret or a config.
#[derive(Clone, Debug, PartialEq)]
pub struct FileGrant {
    pub place: Place,
    /// A key of `secrets` or `configs`.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub mode: Option<u32>,
}

/// An entry of `secrets` or `configs`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileObject {
    pub place: Place,
    pub content: FileContent,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FileContent {
    /// A file of the repository, relative to its root.
    Repository(String),
    /// An absolute path of the host.
    Host(String),
    /// The value of a variable. It is set for everything a service uses; it is a secret and never shown.
    Environment { variable: String, value: Option<String> },
    /// Written in place.
    Inline(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    pub place: Place,
    /// The engine's name: `PROJECT_KEY`, or `name:` when set.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: Option<bool>,
    pub labels: BTreeMap<String, String>,
    pub ipam: Vec<IpamPool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct IpamPool {
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
}

impl IpamPool {
    pub fn is_ipv6(&self) -> bool {
        self.subnet.as_ref().is_some_and(|subnet| subnet.contains(':'))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    pub place: Place,
    /// The engine's name: `PROJECT_KEY`, or `name:` when set.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}
