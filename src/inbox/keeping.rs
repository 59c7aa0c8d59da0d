//! Forgetting: what is done and old, and earlier what is done when the store grows beyond what it may hold.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::deliver::CLAIMABLE;
use super::{Inbox, rows};
use crate::{report, store};

const EVERY: Duration = Duration::from_secs(60);
/// Events forgotten in one write, so that receiving never waits long for this.
const AT_ONCE: usize = 200;
const DAY: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn run(inbox: Inbox, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = tidy(&inbox, &stop).await {
            tracing::error!("old events are not forgotten: {}", report::line(&error));
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Forgets until nothing that may go is left, or told to stop.
async fn tidy(inbox: &Inbox, stop: &CancellationToken) -> Result<(), store::Error> {
    while !stop.is_cancelled() {
        let (keep, now) = (inbox.setup().keep, inbox.now());
        let old = now - i64::from(keep.days) * DAY;
        let went = inbox.shared.store.write(move |tx| {
            // A tenth below what it may hold, so that a burst does not meet a store that is full to the brim.
            let crowded = rows::size(tx)? > keep.bytes - keep.bytes / 10;
            let before = if crowded { now } else { old };
            rows::forget(tx, before, now - CLAIMABLE, AT_ONCE)
        });
        if went.await? == 0 {
            return Ok(());
        }
    }
    Ok(())
}
