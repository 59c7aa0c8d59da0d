//! Out of a gap before the process ends. While what stops first is replaced, nobody answers for it, its old instances
//! are down and its requests wait in this process: no moment to go, and to leave the site like that.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::route::waiting;

/// For the new instances to be there, and then for the old ones to be there again. The service manager waits a little
/// longer than for all of it (`TimeoutStopSec=`).
const FORWARD: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(12);
/// For answers to those who have waited.
const ANSWERS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Whether a run is in a gap now. Its acts say so; whoever ends the process waits.
#[derive(Debug, Default)]
pub struct Gap {
    open: watch::Sender<bool>,
    hurry: CancellationToken,
}

impl Gap {
    pub(super) fn begin(&self) {
        self.open.send_replace(true);
    }

    pub(super) fn end(&self) {
        self.open.send_replace(false);
    }

    /// Cancels the run's work once it has to come out of the gap: it puts everything back then.
    pub(super) async fn hurries(&self, work: &CancellationToken) {
        self.hurry.cancelled().await;
        work.cancel();
    }

    /// Returns when no run is in a gap and who has waited is answered, or after a bounded time.
    pub async fn over(&self) {
        let mut open = self.open.subscribe();
        // It cannot be closed: the sender is ours.
        let mut over = std::pin::pin!(open.wait_for(|open| !*open));
        if timeout(FORWARD, &mut over).await.is_err() {
            self.hurry.cancel();
            if timeout(BACK, over).await.is_err() {
                tracing::warn!("ending in the middle of a gap: the next start brings back what is down");
            }
        }
        let answered = async {
            while waiting() > 0 {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(ANSWERS, answered).await;
    }
}
