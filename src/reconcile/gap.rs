//! Out of a gap before the process ends. While what stops first is replaced, nobody answers for it, its old instances
//! are down and its requests wait in this process: no moment to go, and to leave the site like that.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::route::waiting;

/// For the new instances to be there, and then for the old ones to be there again: the new ones are given their grace
/// before. The service manager waits longer than for all of it (`TimeoutStopSec=`).
const FORWARD: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(20);
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

    /// Whether a run in a gap had to come out of it.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurry.is_cancelled()
    }

    /// Returns when no run is in a gap and who has waited is answered, both at once, or after a bounded time.
    pub async fn over(&self) {
        let (begin, mut closed) = (Instant::now(), None);
        loop {
            let open = *self.open.borrow();
            if !open && waiting() == 0 {
                return;
            }
            // A run may go on from one gap into the next.
            closed = if open { None } else { closed.or_else(|| Some(Instant::now())) };
            if closed.is_some_and(|since| since.elapsed() >= ANSWERS) {
                return;
            }
            if open && begin.elapsed() >= FORWARD {
                self.hurry.cancel();
            }
            if begin.elapsed() >= FORWARD + BACK {
                tracing::warn!("ending in the middle of a gap: the next start brings back what is down");
                return;
            }
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_ends_the_process_waits_for_a_gap_and_then_hurries_it() {
        let (gap, work, begin) = (Gap::default(), CancellationToken::new(), Instant::now());
        gap.over().await;
        assert_eq!(begin.elapsed(), Duration::ZERO, "there was no gap");
        gap.begin();
        let run = async {
            gap.hurries(&work).await;
            sleep(Duration::from_secs(3)).await;
            gap.end();
        };
        tokio::join!(gap.over(), run);
        assert!(work.is_cancelled() && gap.is_hurried());
        assert_eq!(begin.elapsed().as_secs(), FORWARD.as_secs() + 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (gap, begin) = (Gap::default(), Instant::now());
        gap.begin();
        gap.over().await;
        assert_eq!(begin.elapsed().as_secs(), (FORWARD + BACK).as_secs());
    }
}
