//! Services as they should be beside containers as they are. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::model::desired::Desired;
use crate::model::instance::{Condition, Health, Instance, Observed, Phase};
use crate::model::route::Route;
use crate::model::run::RunId;
use crate::record::Run;

/// A container of a service, or the place of one that is missing.
#[derive(Debug, PartialEq, Serialize)]
pub struct ServiceState {
    pub service: String,
    /// The container's name; `None` when there is none, or the engine does not answer.
    pub instance: Option<String>,
    pub level: Level,
    /// `healthy`, `restarting (5)`, `exited with 1`, `missing`, …
    pub state: String,
    /// When the run began that made it (milliseconds since the Unix epoch).
    pub since: Option<i64>,
    pub revision: Option<String>,
    /// `/shop/`, `:5001/`, `example.com/`.
    pub routes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Good,
    /// It does not serve (any more, or yet), and that may be as it should.
    Idle,
    Bad,
}

pub(super) fn services(
    desired: Option<&Desired>,
    observed: Option<&Observed>,
    runs: &[Run],
    doing: Option<RunId>,
) -> Vec<ServiceState> {
    let instances = observed.map(|observed| observed.instances.as_slice()).unwrap_or_default();
    let wanted = desired.iter().flat_map(|desired| desired.services.keys());
    let names: BTreeSet<&String> = wanted.chain(instances.iter().map(|instance| &instance.service)).collect();
    let mut out = Vec::new();
    for name in names {
        let routes: Vec<String> = desired.map(|desired| routes(desired, name)).unwrap_or_default();
        let service = desired.and_then(|desired| desired.services.get(name));
        let one_shot = service.is_some_and(|service| service.one_shot);
        let mut found = instances.iter().filter(|instance| instance.service == *name).peekable();
        if found.peek().is_none() {
            let (level, state) = match observed {
                None => (Level::Idle, "not known"),
                // Its release is live, so it has run; its container may be gone.
                Some(_) if one_shot => (Level::Good, "done"),
                Some(_) => (Level::Bad, "missing"),
            };
            out.push(ServiceState {
                service: name.clone(),
                instance: None,
                level,
                state: state.to_owned(),
                since: None,
                revision: None,
                routes: routes.clone(),
            });
        }
        let several = instances.iter().filter(|instance| instance.service == *name);
        let several = several.map(|instance| &instance.fingerprint).collect::<BTreeSet<_>>().len() > 1;
        out.extend(found.map(|instance| {
            let beside = doing.and_then(|run| match service {
                Some(live) if one_shot || !several || live.fingerprint == instance.fingerprint => None,
                _ if instance.run == run => Some("new"),
                _ => Some("old"),
            });
            one(instance, one_shot, beside, runs, &routes)
        }));
    }
    out
}

/// `beside`: in the midst of a run, what it is to the instances of the release that is live.
fn one(
    instance: &Instance,
    one_shot: bool,
    beside: Option<&str>,
    runs: &[Run],
    routes: &[String],
) -> ServiceState {
    let (level, mut state) = state(&instance.condition, one_shot);
    if let Some(beside) = beside {
        state = format!("{state}, {beside}");
    }
    ServiceState {
        service: instance.service.clone(),
        instance: Some(instance.name.clone()),
        level,
        state,
        since: began(instance.run, runs),
        revision: Some(instance.revision.clone()),
        routes: routes.to_vec(),
    }
}

fn began(run: RunId, runs: &[Run]) -> Option<i64> {
    runs.iter().find(|known| known.id == run).map(|run| run.started_at)
}

fn state(condition: &Condition, one_shot: bool) -> (Level, String) {
    let restarts = match condition.restarts {
        0 => String::new(),
        many if condition.phase == Phase::Restarting => format!(" ({many})"),
        1 => ", 1 restart".to_owned(),
        many => format!(", {many} restarts"),
    };
    let (level, state) = match (condition.phase, condition.health) {
        (Phase::Running, Some(Health::Unhealthy)) => (Level::Bad, "unhealthy".to_owned()),
        (Phase::Running, Some(Health::Starting)) => (Level::Idle, "starting".to_owned()),
        (Phase::Running, Some(Health::Healthy)) => (Level::Good, "healthy".to_owned()),
        (Phase::Running, None) => (Level::Good, "running".to_owned()),
        (Phase::Exited(0), _) if one_shot => (Level::Good, "done".to_owned()),
        (Phase::Exited(_), _) if condition.out_of_memory => (Level::Bad, "out of memory".to_owned()),
        (Phase::Exited(code), _) => (Level::Bad, format!("exited with {code}")),
        (Phase::Restarting, _) => (Level::Bad, "restarting".to_owned()),
        (Phase::Created, _) => (Level::Idle, "created".to_owned()),
        (Phase::Paused, _) => (Level::Bad, "paused".to_owned()),
        (Phase::Dead, _) => (Level::Bad, "dead".to_owned()),
    };
    (level, state + &restarts)
}

fn routes(desired: &Desired, service: &str) -> Vec<String> {
    desired.routes.iter().filter(|route| route.service == service).map(address).collect()
}

/// Where a route is found, as far as it differs from port 80 of any host.
pub fn address(route: &Route) -> String {
    let host = route.host.as_deref().unwrap_or_default();
    let port = if route.listen == 80 { String::new() } else { format!(":{}", route.listen) };
    format!("{host}{port}{}", route.path)
}
