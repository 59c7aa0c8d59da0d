//! Signals to an instance's main process, behind the engine's back.
//!
//! The engine takes any signal sent through its own API for a wish to end the container: it forgets to restart it
//! after a crash, and under `unless-stopped` after its own restart too. So the kernel is asked where that is
//! allowed (it takes microseconds), else a shell in the container.

use rustix::process::{Pid, Signal, kill_process};

use super::Docker;
use crate::engine::EngineError;
use crate::model::instance::InstanceId;

impl Docker {
    pub(super) async fn send_signal(&self, id: &InstanceId, signal: &str) -> Result<(), EngineError> {
        let act = || format!("send {signal} to {}", id.short());
        let refused = |message: String| EngineError::Refused { act: act(), message };
        let state = self.inspect_own(id, "send a signal to").await?.state;
        let pid = state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        let Some(pid) = pid else { return Err(refused("it does not run".to_owned())) };
        if sent_by_kernel(pid, id, signal) {
            return Ok(());
        }
        let finished = self.exec_in(id, &["sh", "-c", &format!("kill -{signal} 1")]).await?;
        if finished.code == 0 { Ok(()) } else { Err(refused(finished.output)) }
    }
}

/// Not when the agent's processes are not the engine's, nor without the right to.
fn sent_by_kernel(pid: i64, id: &InstanceId, signal: &str) -> bool {
    let Some(signal) = number(signal) else { return false };
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.contains(&id.0) && kill_process(process, signal).is_ok()
}

fn number(name: &str) -> Option<Signal> {
    Some(match name {
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        _ => return None,
    })
}
