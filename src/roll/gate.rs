//! Waiting at the gate: looks, one after the other, until there is a verdict.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Engine, EngineError};
use crate::model::desired::{Desired, Service};
use crate::model::instance::{Condition, InstanceId, Observed, Phase};
use crate::plan::verdict::{Look, Verdict, one_shot, verdict};

use super::{Journal, RollError, Rolling, probe, sockets};

/// The engine is asked less often than the app: its answer changes less often.
const CONDITION_EVERY: Duration = Duration::from_millis(100);
/// Between the first two probes at least.
const SOON: Duration = Duration::from_millis(2);
const LOG_LINES: usize = 20;

/// An instance that passed: how long it took, and what could not be asked.
pub(super) struct Passed {
    pub(super) after: Duration,
    pub(super) warning: Option<String>,
}

/// What an instance has behind it when it is looked at: nothing, for a new one.
#[derive(Clone, Copy, Default)]
pub(super) struct Since {
    /// Restarts that count no more.
    pub(super) restarts: i64,
    /// It is not taken for good before this.
    pub(super) least: Duration,
}

/// A new question is asked of the instances that stay, too: where they have no answer to it they could neither be brought
/// back behind it nor be mended. `before`: what was asked until now. `changing`: of those alone whose answer may depend
/// on what the run changes, or of all others.
pub async fn ask_who_stays<E: Engine, J: Journal>(
    rolling: &Rolling<'_, E, J>,
    observed: &Observed,
    before: &Desired,
    changing: bool,
) -> Result<(), RollError> {
    let rolls = |name: &str| rolling.plan.rolls.iter().any(|roll| roll.service == name);
    for (name, service) in rolling.desired.services.iter().filter(|(name, _)| !rolls(name)) {
        let new = |before: &Service| before.gate.probe != service.gate.probe;
        if service.one_shot || !before.services.get(name).is_some_and(new) {
            continue;
        }
        let refreshed = rolling.plan.refreshes.iter().any(|refresh| refresh.service == *name);
        if changing != (service.proxy || refreshed || rolling.desired.before(name).into_iter().any(rolls)) {
            continue;
        }
        let there = observed.instances.iter().filter(|i| i.service == *name && i.running() && !i.dismissed());
        for instance in there {
            let since = Since { restarts: instance.condition.restarts, ..Since::default() };
            let address = rolling.address(service, None, &instance.id).await?;
            rolling.wait_for(service, &instance.id, address, since).await?;
        }
    }
    Ok(())
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// Waits until the instance has passed or failed. One that is `kept_waiting` by something newer ends at once.
    pub(super) async fn wait_for(
        &self,
        service: &Service,
        id: &InstanceId,
        address: Option<Ipv4Addr>,
        since: Since,
    ) -> Result<Passed, RollError> {
        tokio::select! {
            verdict = self.watch(service, id, address, since) => verdict,
            () = self.newer.cancelled() => Err(RollError::Newer),
        }
    }

    pub(super) async fn watch(
        &self,
        service: &Service,
        id: &InstanceId,
        address: Option<Ipv4Addr>,
        since: Since,
    ) -> Result<Passed, RollError> {
        let name = &service.template.service;
        let start = Instant::now();
        let mut condition = self.condition_since(id, since).await.map_err(Self::failed(name))?;
        let mut seen = Instant::now();
        loop {
            let asked = match (&service.gate.probe, address) {
                (Some(probe), Some(address)) if !service.one_shot => tokio::select! {
                    answer = probe::ask(probe, address, self.pace.probe_timeout) => Some(answer),
                    // What has ended has lost its address: the question would wait for its timeout.
                    ended = self.until_ended(id, since) => {
                        ended.map_err(Self::failed(name))?;
                        Some(Err("it ended before it answered".to_owned()))
                    }
                },
                _ => None,
            };
            // A probe that passes is worth nothing beside a condition from before it.
            if asked == Some(Ok(())) || seen.elapsed() >= CONDITION_EVERY {
                condition = self.condition_since(id, since).await.map_err(Self::failed(name))?;
                seen = Instant::now();
            }
            let look = Look { age: start.elapsed(), condition: condition.clone(), probe: asked };
            let verdict =
                if service.one_shot { one_shot(&service.gate, &look) } else { verdict(&service.gate, &look) };
            match verdict {
                // One that was quick to start is not kept waiting for long.
                Verdict::Waiting => {
                    tokio::time::sleep(self.pace.probe_interval.min(look.age / 20 + SOON)).await
                }
                Verdict::Healthy { .. } if look.age < since.least => {
                    tokio::time::sleep(self.pace.probe_interval).await;
                }
                Verdict::Healthy { warning } => {
                    return Ok(Passed { after: start.elapsed(), warning: warning.map(str::to_owned) });
                }
                Verdict::Failed(message) => return Err(self.explain(service, id, &look, message).await),
            }
        }
    }

    /// Returns once the instance does not run, or runs again after it had ended.
    pub(super) async fn until_ended(&self, id: &InstanceId, since: Since) -> Result<(), EngineError> {
        loop {
            tokio::time::sleep(CONDITION_EVERY).await;
            let condition = self.condition_since(id, since).await?;
            if condition.phase != Phase::Running || condition.restarts > 0 {
                return Ok(());
            }
        }
    }

    async fn condition_since(&self, id: &InstanceId, since: Since) -> Result<Condition, EngineError> {
        let condition = self.engine.condition(id).await?;
        Ok(Condition { restarts: condition.restarts - since.restarts, ..condition })
    }

    /// The failure, with what a person would look for next.
    async fn explain(
        &self,
        service: &Service,
        id: &InstanceId,
        look: &Look,
        mut message: String,
    ) -> RollError {
        if let (Some(probe), Some(Err(_))) = (&service.gate.probe, &look.probe)
            && let Some(ports) = sockets::listening(look.condition.pid)
            && !ports.contains(&probe.port)
        {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let ports = if ports.is_empty() { "no port at all".into() } else { ports.join(", ") };
            message.push_str(&format!("; the app listens on {ports}"));
        }
        let log = self.engine.logs(id, LOG_LINES).await.unwrap_or_default();
        RollError::Gate { service: service.template.service.clone(), message, log }
    }
}
