//! Is this instance good? One look at a time; pure, so that every case can be tried without waiting.

use std::time::Duration;

use crate::model::desired::Gate;
use crate::model::instance::{Condition, Health, Phase};

/// One look at an instance.
#[derive(Clone, Debug)]
pub struct Look {
    /// Since its start.
    pub age: Duration,
    pub condition: Condition,
    /// The agent's own probe: `None` when the gate has none, else what it met.
    pub probe: Option<Result<(), String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Waiting,
    /// With a warning when nothing better than "it runs" could be asked.
    Healthy {
        warning: Option<&'static str>,
    },
    Failed(String),
}

const UNASKED: &str =
    "no health check and no probe: it only kept running (add a healthcheck or the label agent.probe)";

/// The verdict on a service's instance after one more look.
pub fn verdict(gate: &Gate, look: &Look) -> Verdict {
    if let Some(end) = ended(&look.condition) {
        return Verdict::Failed(end);
    }
    if look.condition.health == Some(Health::Unhealthy) {
        return Verdict::Failed("its health check says unhealthy".into());
    }
    let health_passed = match look.condition.health {
        None => !gate.health,
        Some(health) => health == Health::Healthy,
    };
    let probe_passed = matches!(look.probe, None | Some(Ok(())));
    let asked = look.condition.health.is_some() || look.probe.is_some();
    if look.condition.phase == Phase::Running && health_passed && probe_passed {
        if asked {
            return Verdict::Healthy { warning: None };
        }
        if look.age >= gate.settle {
            return Verdict::Healthy { warning: Some(UNASKED) };
        }
    }
    if look.age >= gate.timeout {
        return Verdict::Failed(late(gate, look, health_passed));
    }
    Verdict::Waiting
}

/// The verdict on a one-shot service: it must end, and with 0.
pub fn one_shot(gate: &Gate, look: &Look) -> Verdict {
    match look.condition.phase {
        Phase::Exited(0) => Verdict::Healthy { warning: None },
        Phase::Exited(_) | Phase::Dead | Phase::Restarting => {
            Verdict::Failed(ended(&look.condition).unwrap_or_else(|| "it restarted".into()))
        }
        _ if look.age >= gate.timeout => {
            Verdict::Failed(format!("it did not end within {} s", gate.timeout.as_secs()))
        }
        _ => Verdict::Waiting,
    }
}

/// How an instance that should run came to its end, if it did, or had to be begun again.
pub(super) fn ended(condition: &Condition) -> Option<String> {
    let memory = if condition.out_of_memory { " (out of memory)" } else { "" };
    match condition.phase {
        Phase::Exited(code) => Some(format!("it exited with code {code}{memory}")),
        Phase::Dead => Some(format!("the engine could not end it cleanly: {}", condition.error)),
        Phase::Restarting => Some(format!("{}{memory}", restarted(condition, 0))),
        _ if condition.restarts > 0 => Some(format!("{}{memory}", restarted(condition, condition.restarts))),
        _ => None,
    }
}

fn restarted(condition: &Condition, times: i64) -> String {
    let how = match condition.last_exit {
        Some(code) => format!("it exited with code {code}"),
        None => "it crashed".to_owned(),
    };
    match times {
        0 | 1 => format!("{how} and was restarted"),
        many => format!("{how} and was restarted {many} times"),
    }
}

fn late(gate: &Gate, look: &Look, health_passed: bool) -> String {
    let seconds = gate.timeout.as_secs_f64();
    let why = match &look.probe {
        Some(Err(met)) => met.clone(),
        _ if !health_passed => "its health check never said healthy".into(),
        _ => "it never ran".into(),
    };
    format!("not healthy within {seconds} s: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(health: bool) -> Gate {
        Gate { health, probe: None, settle: Duration::from_secs(3), timeout: Duration::from_secs(60) }
    }

    fn look(age: u64, phase: Phase, health: Option<Health>, probe: Option<Result<(), String>>) -> Look {
        let condition = Condition { health, ..Condition::plain(phase) };
        Look { age: Duration::from_secs(age), condition, probe }
    }

    #[test]
    fn an_exit_fails_at_once() {
        let look = look(0, Phase::Exited(3), None, Some(Err("refused".into())));
        assert_eq!(verdict(&gate(false), &look), Verdict::Failed("it exited with code 3".into()));
    }

    #[test]
    fn a_restart_fails_even_when_it_runs_again() {
        let mut look = look(1, Phase::Running, None, Some(Ok(())));
        look.condition.restarts = 2;
        let said = |look: &Look| match verdict(&gate(false), look) {
            Verdict::Failed(said) => said,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&look), "it crashed and was restarted 2 times");
        look.condition.last_exit = Some(3);
        assert_eq!(said(&look), "it exited with code 3 and was restarted 2 times");
        look.condition.restarts = 1;
        assert_eq!(said(&look), "it exited with code 3 and was restarted");
    }

    #[test]
    fn a_passed_probe_needs_no_settle_time() {
        let look = look(0, Phase::Running, None, Some(Ok(())));
        assert_eq!(verdict(&gate(false), &look), Verdict::Healthy { warning: None });
    }

    #[test]
    fn health_and_probe_must_both_pass() {
        let starting = look(1, Phase::Running, Some(Health::Starting), Some(Ok(())));
        assert_eq!(verdict(&gate(true), &starting), Verdict::Waiting);
        let refused = look(1, Phase::Running, Some(Health::Healthy), Some(Err("refused".into())));
        assert_eq!(verdict(&gate(true), &refused), Verdict::Waiting);
        let both = look(1, Phase::Running, Some(Health::Healthy), Some(Ok(())));
        assert_eq!(verdict(&gate(true), &both), Verdict::Healthy { warning: None });
    }

    #[test]
    fn running_alone_passes_after_the_settle_time_with_a_warning() {
        assert_eq!(verdict(&gate(false), &look(2, Phase::Running, None, None)), Verdict::Waiting);
        let settled = verdict(&gate(false), &look(3, Phase::Running, None, None));
        assert_eq!(settled, Verdict::Healthy { warning: Some(UNASKED) });
    }

    #[test]
    fn the_timeout_says_what_the_probe_met() {
        let look = look(60, Phase::Running, None, Some(Err("nothing listens on port 8000".into())));
        let expected = "not healthy within 60 s: nothing listens on port 8000";
        assert_eq!(verdict(&gate(false), &look), Verdict::Failed(expected.into()));
    }

    #[test]
    fn a_one_shot_passes_on_exit_zero_only() {
        let done = look(1, Phase::Exited(0), None, None);
        assert_eq!(one_shot(&gate(false), &done), Verdict::Healthy { warning: None });
        assert!(matches!(one_shot(&gate(false), &look(1, Phase::Exited(1), None, None)), Verdict::Failed(_)));
        assert_eq!(one_shot(&gate(false), &look(1, Phase::Running, None, None)), Verdict::Waiting);
        assert!(matches!(one_shot(&gate(false), &look(60, Phase::Running, None, None)), Verdict::Failed(_)));
    }
}
