//! Letting an old instance finish what it has begun: until nothing is open to it, within bounds.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::model::instance::InstanceId;

use super::{Journal, Rolling, sockets};

/// For each look the kernel walks through the sockets of the whole machine: milliseconds that requests would need.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Quiet for this long is done: a request that was on its way when callers were told has arrived by then.
const QUIET: Duration = Duration::from_millis(100);

/// How waiting for an old instance ended. The numbers are connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    Quiet,
    /// Patience ended with so many open.
    Open(usize),
    /// Something newer waits: it begins now, beside these, and its run retires the instance.
    Left(usize),
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    pub(super) async fn drain(&self, id: &InstanceId) -> Drained {
        let Ok(condition) = self.engine.condition(id).await else { return Drained::Quiet };
        let deadline = Instant::now() + self.pace.drain;
        let mut quiet_since = None;
        loop {
            match sockets::open(condition.pid) {
                // It ended by itself, or the kernel does not tell us: nothing to wait for.
                None => return Drained::Quiet,
                Some(0) => {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= QUIET {
                        return Drained::Quiet;
                    }
                }
                Some(open) if Instant::now() >= deadline => return Drained::Open(open),
                Some(open) if self.newer.is_cancelled() => return Drained::Left(open),
                Some(_) => quiet_since = None,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
