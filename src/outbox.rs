//! Telling the world: commit statuses and deployments on GitHub, Slack, Discord, a signed webhook of one's own.
//!
//! What is told is read from the record and the loop's situation, by a task that only reads; nothing in a run waits
//! for it or knows of it. Every piece of news becomes a *letter* for each target that wants it, on disk and at most
//! once, and each target has a postman of its own who tries until it is taken or no news any more. So a target that is
//! dead, slow or wrong delays nobody, and an agent that is killed tells at its next start what it had not told.
//!
//! Letters arrive at least once and, for one target, in order.

mod letters;
mod news;
mod observe;
mod postman;
mod target;
mod words;

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::Client;
use crate::reconcile::Situation;
use crate::record::Record;
use crate::store::Store;

pub use letters::MIGRATIONS;
pub use news::{News, Told, What};
pub use target::{Deployments, Discord, GitHub, Refused, Slack, Statuses, Target, Webhook};

/// Milliseconds since the Unix epoch, now. A value, so that days can pass within a test.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What is older than this (milliseconds) is no news: it is neither written nor tried any longer.
const FRESH: i64 = 24 * 60 * 60 * 1000;

/// The whole wing.
pub struct Outbox {
    pub store: Store,
    pub record: Record,
    pub situation: watch::Receiver<Situation>,
    /// How many deliveries of Stripe's events are dead, once that is known.
    pub dead: watch::Receiver<Option<u64>>,
    pub stack: String,
    pub targets: Vec<Target>,
    pub client: Client,
    pub clock: Clock,
}

impl Outbox {
    /// Observes and delivers until `stop`. A request under way is then dropped, and made again after the next start.
    pub async fn run(self, stop: CancellationToken) {
        let outbox = Arc::new(self);
        let postmen = TaskTracker::new();
        let mut bells = Vec::new();
        for place in 0..outbox.targets.len() {
            let bell = Arc::new(Notify::new());
            bells.push(Arc::clone(&bell));
            postmen.spawn(postman::run(Arc::clone(&outbox), place, bell, stop.clone()));
        }
        postmen.close();
        observe::run(&outbox, &bells, stop).await;
        postmen.wait().await;
    }
}
