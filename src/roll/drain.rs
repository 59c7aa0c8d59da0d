//! Letting an old instance finish what it has begun: until nothing is open to it, within bounds.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::model::instance::InstanceId;

use super::{Journal, Rolling, sockets};

/// How one waits for an instance to finish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For what is open.
    pub(super) most: Duration,
    /// Between two looks, and quiet for so long is done: a request that was on its way when callers were told has
    /// arrived by then. For each look the kernel walks through the sockets of the whole machine: milliseconds that
    /// requests would need.
    pub(super) look: Duration,
    /// Whether it ends when something newer is to be reached.
    pub(super) yields: bool,
}

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
    pub(super) async fn drain(&self, id: &InstanceId, patience: Patience) -> Drained {
        let Ok(condition) = self.engine.condition(id).await else { return Drained::Quiet };
        let deadline = Instant::now() + patience.most;
        let mut quiet_since = None;
        loop {
            match sockets::open(condition.pid) {
                // It ended by itself, or the kernel does not tell us: nothing to wait for.
                None => return Drained::Quiet,
                Some(0) => {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= patience.look {
                        return Drained::Quiet;
                    }
                }
                Some(open) if Instant::now() >= deadline => return Drained::Open(open),
                Some(open) if patience.yields && self.newer.is_cancelled() => return Drained::Left(open),
                Some(_) => quiet_since = None,
            }
            tokio::time::sleep(patience.look).await;
        }
    }
}
