//! An instance as the engine shows it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RunId;

/// The engine's id of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl InstanceId {
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// An instance as the engine shows it: only instances labelled as the agent's own are ever listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub name: String,
    pub service: String,
    pub number: u32,
    pub fingerprint: String,
    pub run: RunId,
    pub revision: String,
    pub image_id: String,
    pub condition: Condition,
    /// By the engine's network name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// No network of the stack gives it names (`network_mode: bridge`), so that it never loses them either.
    #[serde(skip)]
    pub nameless: bool,
    /// The engine does not start it again when it ends, whatever its service says.
    #[serde(skip)]
    pub let_lie: bool,
    /// Its `/etc/hosts`, on the host, while it runs.
    #[serde(skip)]
    pub hosts: Option<PathBuf>,
    /// The anonymous volumes that it may write to, by where they are mounted.
    #[serde(skip)]
    pub volumes: BTreeMap<String, String>,
}

impl Instance {
    /// Whether callers inside the stack may find it by its service's name.
    pub fn admitted(&self) -> bool {
        self.endpoints.values().any(|e| e.aliases.contains(&self.service))
    }

    /// Callers could find it and cannot any more: it only finishes what it has begun.
    pub fn dismissed(&self) -> bool {
        let reached = self.endpoints.values().any(|endpoint| endpoint.address.is_some());
        reached && !self.nameless && !self.admitted()
    }

    /// It does not run, and will not by itself.
    pub fn ended(&self) -> bool {
        matches!(self.condition.phase, Phase::Created | Phase::Exited(_) | Phase::Dead)
    }

    pub fn running(&self) -> bool {
        matches!(self.condition.phase, Phase::Running)
    }
}

#[cfg(test)]
impl Instance {
    /// One of the first release, of which nothing is said but how it is.
    pub(crate) fn plain(service: &str, number: u32, phase: Phase) -> Self {
        Self {
            id: InstanceId(number.to_string()),
            name: format!("shop-{service}-{number}"),
            service: service.into(),
            number,
            fingerprint: "f".into(),
            run: RunId(1),
            revision: String::new(),
            image_id: String::new(),
            condition: Condition::plain(phase),
            endpoints: BTreeMap::new(),
            nameless: false,
            let_lie: false,
            hosts: None,
            volumes: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
impl Condition {
    pub(crate) fn plain(phase: Phase) -> Self {
        Self {
            phase,
            health: None,
            restarts: 0,
            out_of_memory: false,
            last_exit: None,
            error: String::new(),
            pid: 1,
            started_at: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `None` while the instance does not run and has no fixed address.
    pub address: Option<Ipv4Addr>,
    pub aliases: Vec<String>,
}

/// How an instance is, at one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub phase: Phase,
    pub health: Option<Health>,
    /// Restarts by the engine since it was created.
    pub restarts: i64,
    pub out_of_memory: bool,
    /// The exit code of its last end, where it was started again after that and the engine still knows.
    #[serde(default)]
    pub last_exit: Option<i64>,
    /// What the engine itself says is wrong, such as a port that is taken.
    pub error: String,
    /// The main process on the host; 0 when it does not run.
    pub pid: i64,
    /// When it was last started, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub started_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Created,
    Running,
    Paused,
    Restarting,
    Exited(i64),
    Dead,
}

/// Docker's own health check, where the image or the stack has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}
