//! The tables of `agent.toml` and their defaults. What each key means is told once, to its reader, in the shipped
//! `agent.toml`; the comments here add only what a programmer must know besides. A test holds the two together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forges::ForgeHook;
use super::secret::SecretFile;
use super::text::{Size, duration, or_empty};
use crate::model::route::Published;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stack {
    /// The compose project's name. Required.
    pub name: String,
    /// In the repository, relative to its root; later ones override earlier ones.
    pub compose: Vec<String>,
    pub profiles: Vec<String>,
    #[serde(with = "or_empty")]
    pub env_file: Option<SecretFile>,
}

impl Default for Stack {
    fn default() -> Self {
        Self {
            name: String::new(),
            compose: vec!["stack/compose.yaml".to_owned()],
            profiles: Vec::new(),
            env_file: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Required. Holds no secret: an address with a password is refused.
    pub url: String,
    pub branch: String,
    #[serde(with = "or_empty")]
    pub token_file: Option<SecretFile>,
    pub username: String,
    #[serde(with = "or_empty")]
    pub ssh_key_file: Option<SecretFile>,
    /// `SHA256:` and 43 characters of unpadded base64, as `ssh-keygen -lf` prints them.
    pub ssh_host_keys: Vec<String>,
    #[serde(with = "or_empty")]
    pub ssh_known_hosts: Option<PathBuf>,
    pub ff_only: bool,
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    #[serde(with = "or_empty")]
    pub ca_file: Option<PathBuf>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            url: String::new(),
            branch: "main".to_owned(),
            token_file: None,
            username: "x-access-token".to_owned(),
            ssh_key_file: None,
            ssh_host_keys: Vec::new(),
            ssh_known_hosts: None,
            ff_only: false,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            ca_file: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Poll {
    /// Five fields, in UTC; see [`Poll::schedule`].
    pub schedule: String,
    #[serde(with = "duration")]
    pub jitter: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self { schedule: "* * * * *".to_owned(), jitter: Duration::from_secs(10) }
    }
}

impl Poll {
    /// The five fields, or nothing when polling is turned off.
    pub fn schedule(&self) -> Option<&str> {
        Some(self.schedule.trim()).filter(|text| !matches!(*text, "" | "off"))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// None: nobody listens.
    #[serde(with = "or_empty")]
    pub listen: Option<SocketAddr>,
    #[serde(with = "or_empty")]
    pub publish: Option<Published>,
    pub github: ForgeHook,
    pub gitlab: ForgeHook,
    pub gitea: ForgeHook,
    pub forgejo: ForgeHook,
    pub bitbucket: ForgeHook,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9090))),
            publish: None,
            github: ForgeHook::default(),
            gitlab: ForgeHook::default(),
            gitea: ForgeHook::default(),
            forgejo: ForgeHook::default(),
            bitbucket: ForgeHook::default(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    /// None: nobody listens.
    #[serde(with = "or_empty")]
    pub listen: Option<SocketAddr>,
    #[serde(with = "or_empty")]
    pub publish: Option<Published>,
    /// Required where the page is served.
    #[serde(with = "or_empty")]
    pub token_file: Option<SecretFile>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    pub kind: EngineKind,
    /// A path or `unix://PATH`.
    #[serde(with = "or_empty")]
    pub socket: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    #[default]
    Docker,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    pub parallel: usize,
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub min_free_disk: Size,
}

impl Default for Build {
    fn default() -> Self {
        Self { parallel: 2, timeout: Duration::from_secs(15 * 60), min_free_disk: Size(1 << 30) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roll {
    #[serde(with = "duration")]
    pub health_timeout: Duration,
    #[serde(with = "duration")]
    pub one_shot_timeout: Duration,
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    #[serde(with = "duration")]
    pub settle: Duration,
    #[serde(with = "duration")]
    pub drain: Duration,
    /// Zero: nothing is watched.
    #[serde(with = "duration")]
    pub watch: Duration,
    pub mode: Mode,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            health_timeout: Duration::from_secs(60),
            one_shot_timeout: Duration::from_secs(15 * 60),
            probe_interval: Duration::from_millis(30),
            probe_timeout: Duration::from_secs(2),
            settle: Duration::from_secs(3),
            drain: Duration::from_secs(10),
            watch: Duration::from_secs(60),
            mode: Mode::Transaction,
        }
    }
}

/// How the services of a release change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All together: the old and the new of each run side by side, and requests move once.
    Transaction,
    /// One after another, each to its end: only one service runs twice at a time.
    Rolling,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    pub self_heal: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nginx {
    /// See [`super::Config::nginx_folder`] for the default.
    #[serde(with = "or_empty")]
    pub folder: Option<PathBuf>,
    #[serde(with = "or_empty")]
    pub template: Option<PathBuf>,
    pub generation_port: u16,
    pub trusted_proxies: Vec<String>,
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
}

impl Default for Nginx {
    fn default() -> Self {
        Self {
            folder: None,
            template: None,
            generation_port: 8099,
            trusted_proxies: Vec::new(),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    pub keep: usize,
    pub runs: usize,
    #[serde(with = "duration")]
    pub logs: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: 5, runs: 200, logs: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What a stack from the repository may ask of the machine; everything here is refused by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub allow_privileged: bool,
    pub allow_docker_socket: bool,
    pub allow_host_network: bool,
    /// Absolute; each allows itself and all that is below it.
    pub allow_host_paths: Vec<String>,
    /// Without `CAP_`, in capitals.
    pub allow_capabilities: Vec<String>,
    /// Paths below `/dev`.
    pub allow_devices: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    pub allow_empty: bool,
}
