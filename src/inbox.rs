//! Stripe's events: verified, on disk, answered; then delivered to the services that want them, however late.
//!
//! Three nouns. An *event* is what Stripe sent, kept byte for byte. A *delivery* is the duty to bring it to one
//! destination. An *attempt* is one HTTP request for a delivery and what came of it. And two tasks that meet only
//! in the store: receiving answers 2xx once the event and its deliveries are committed; delivering takes from the
//! store what is due. So whoever is killed, rolled or down in between, nothing that was acknowledged is lost.
//! Deliveries are at-least-once: an app is to know an event again by its id.
//!
//! This wing knows nothing of containers or releases: where a service is, whether it may be asked now and what is
//! configured is told to it on two `watch` channels.

mod deliver;
mod event;
mod keeping;
mod numbers;
mod orders;
mod pattern;
mod receive;
mod rows;
mod schedule;
mod secrets;
mod signature;
mod simulate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::Secret;
use crate::report;
use crate::store::{self, Store};

pub use numbers::Numbers;
pub use orders::{Again, Discarded, InboxError, Rotated, Scope};
pub use pattern::{Pattern, PatternError};
pub use rows::{Attempt, Backlog, Delivery, Event, Filter, MIGRATIONS, Seen, State, Story, Which};
pub use secrets::SecretsError;
pub use simulate::{Simulated, Simulation, SimulationError, kinds};

/// Milliseconds since the Unix epoch, now. A value, so that days can pass within a test.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Everything configured; swapped whole when the configuration or the release changes.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub endpoints: Vec<Endpoint>,
    pub destinations: Vec<Destination>,
    pub keep: Keep,
}

/// Where Stripe sends: `POST /webhooks/stripe/NAME`; the one named `default` also at `/webhooks/stripe`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub name: String,
    /// All are accepted: Stripe signs with each active one while a secret is rolled, and with different ones for
    /// test and live mode.
    pub secrets: Vec<SigningSecret>,
    /// How far the signature's time may be from ours, either way.
    pub tolerance: Duration,
}

/// A secret that Stripe made for an endpoint.
#[derive(Clone, Debug)]
pub struct SigningSecret {
    /// The whole text, `whsec_` included: that is the key.
    pub secret: Secret,
    /// The mode it belongs to; events of the other one are refused. `None` takes both.
    pub livemode: Option<bool>,
}

/// A service that events go to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Unique; deliveries are remembered under it.
    pub name: String,
    /// The compose service, a key of [`Places`].
    pub service: String,
    /// Only what came to this endpoint.
    pub endpoint: Option<String>,
    /// What it wants: one match is enough.
    pub events: Vec<Pattern>,
    /// Path and query of the request, from `/` on.
    pub path: String,
    /// The port inside the service's containers.
    pub port: u16,
    /// The destination's own secrets, the current one first. The one before is signed with as well while it is
    /// given here, so that a rotation loses nothing.
    pub secrets: Vec<Secret>,
    /// Requests at once, at least one.
    pub concurrency: usize,
    /// For a whole attempt, to the end of the answer's head.
    pub timeout: Duration,
    /// Events about one object arrive in the order in which they were received: a later one waits until the
    /// earlier ones are delivered or dead.
    pub ordered: bool,
    pub signing: Signing,
    /// Forwards while Stripe waits and answers with the app's status: Stripe, not the agent, tries again.
    pub passthrough: bool,
}

/// What the app finds in `Stripe-Signature`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// A new signature at every attempt, with the destination's own secrets.
    #[default]
    Stripe,
    /// What Stripe sent. Official libraries refuse it after five minutes.
    Original,
}

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Events whose deliveries all succeeded go after this many days. What is pending or dead stays.
    pub days: u32,
    /// Bytes the store may hold. Beyond, delivered events go early; when none is left, new ones are refused.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { days: 30, bytes: 4 << 30 }
    }
}

/// What delivery may know of the stack right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By compose service. One that is missing here is away.
    pub services: BTreeMap<String, Place>,
}

/// Whether a service may be asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The addresses of the instances that have passed their gate; asked in turn.
    At(Vec<IpAddr>),
    /// Rolling, stopped or crashed: deliveries wait and no attempt is spent.
    Away { why: String },
}

impl Setup {
    /// The destinations that want an event of type `kind` from `endpoint`.
    fn wanting<'a>(&'a self, endpoint: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Destination> {
        self.destinations.iter().filter(move |destination| destination.wants(endpoint, kind))
    }
}

impl Destination {
    fn wants(&self, endpoint: &str, kind: &str) -> bool {
        self.endpoint.as_deref().is_none_or(|only| only == endpoint)
            && self.events.iter().any(|pattern| pattern.matches(kind))
    }
}

/// The wing's one handle; clones share everything.
#[derive(Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    setup: watch::Receiver<Arc<Setup>>,
    places: watch::Receiver<Places>,
    clock: Clock,
    bells: deliver::Bells,
    tally: numbers::Tally,
    client: deliver::Client,
    rotations: watch::Sender<u64>,
}

impl Inbox {
    /// Over a store that has taken [`MIGRATIONS`]. `setup` and `places` may change at any time.
    pub fn new(
        store: Store,
        setup: watch::Receiver<Arc<Setup>>,
        places: watch::Receiver<Places>,
        clock: Clock,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                setup,
                places,
                clock,
                bells: deliver::Bells::default(),
                tally: numbers::Tally::default(),
                client: deliver::client(),
                rotations: watch::Sender::new(0),
            }),
        }
    }

    /// What Stripe knocks at: `POST /webhooks/stripe` and `POST /webhooks/stripe/NAME`.
    pub fn router(&self) -> Router {
        receive::router(self.clone())
    }

    /// Orders of people, for a socket that only they can reach.
    pub fn orders(&self) -> Router {
        orders::router(self.clone())
    }

    /// Delivers, and forgets what is old, until `stop`.
    pub async fn deliver(self, stop: CancellationToken) {
        let keeping = keeping::run(self.clone(), stop.clone());
        tokio::join!(deliver::run(self, stop), keeping);
    }

    /// Reads what this wing keeps.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.store.clone())
    }

    /// For metrics.
    pub async fn numbers(&self) -> Result<Numbers, store::Error> {
        let backlog = self.shared.store.read(rows::counts).await?;
        Ok(self.shared.tally.numbers(backlog))
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.shared.setup.borrow())
    }

    /// Milliseconds since the Unix epoch.
    fn now(&self) -> i64 {
        (self.shared.clock)()
    }

    /// Writes an attempt down, however long that takes: while it cannot be written down it must not be made again.
    async fn finish(&self, destination: &str, ending: rows::Ending) -> rows::Ending {
        self.shared.tally.attempted(destination, ending.status);
        loop {
            let record = ending.clone();
            match self.shared.store.write(move |tx| rows::finish(tx, &record)).await {
                Ok(()) => return ending,
                Err(error) => {
                    tracing::error!(destination, "an attempt is not written down: {}", report::line(&error));
                    tokio::time::sleep(NOT_WRITTEN).await;
                }
            }
        }
    }
}

/// Reading what is kept, whether or not a daemon runs.
#[derive(Clone)]
pub struct Reader {
    store: Store,
}

impl Reader {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Newest first.
    pub async fn events(&self, filter: Filter) -> Result<Vec<Event>, store::Error> {
        self.store.read(move |sql| rows::events(sql, &filter)).await
    }

    /// Everything about one event; of several endpoints' the newest, unless one is named.
    pub async fn story(&self, id: String, endpoint: Option<String>) -> Result<Option<Story>, store::Error> {
        self.store.read(move |sql| rows::story(sql, &id, endpoint.as_deref())).await
    }

    /// Where [`Self::since`] begins for whoever wants only what is to come.
    pub async fn ends(&self) -> Result<(i64, i64), store::Error> {
        self.store.read(rows::ends).await
    }

    /// What happened after these numbers of an event and of an attempt, in order.
    pub async fn since(&self, events: i64, attempts: i64) -> Result<Vec<Seen>, store::Error> {
        self.store.read(move |sql| rows::since(sql, events, attempts)).await
    }

    /// What is left to do, for every destination that has something left.
    pub async fn backlog(&self) -> Result<Vec<Backlog>, store::Error> {
        self.store.read(rows::counts).await
    }
}

/// After an attempt could not be written down.
const NOT_WRITTEN: Duration = Duration::from_secs(1);
