//! One destination's lane: takes what is due, keeps to the number of requests at once, waits while the service is
//! away.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::rows::{self, Ending, Next, Parcel};
use super::super::{Destination, Inbox, Place, Places, Setup, Signing};
use super::attempt;
use crate::report;

/// Deliveries taken from the store at once, at least.
const HANDFUL: usize = 64;
/// The longest sleep: the machine's clock may be set, or have slept itself.
const NAP: Duration = Duration::from_secs(1);
/// After a trouble with the store.
const AGAIN: Duration = Duration::from_secs(1);
/// At the stop, how long attempts under way may take to end. One that is cut off is made again by the next start.
const GRACE: Duration = Duration::from_secs(5);
/// Milliseconds after which the store is looked into although no bell rang: a sender that hangs up between the
/// commit and the bell takes the ringing along.
const UNRUNG: i64 = 10_000;
/// Milliseconds in which a delivery is brought forward once at most, however often its service comes back: the event
/// itself may be what brings the service down.
const FRESHENED: i64 = 10 * 60 * 1000;

pub(super) struct Lane {
    inbox: Inbox,
    name: String,
    setup: watch::Receiver<Arc<Setup>>,
    /// What is configured of it; `None` while nothing is.
    destination: Option<Arc<Destination>>,
    places: watch::Receiver<Places>,
    bell: Arc<Notify>,
    /// Taken from the store, not yet begun.
    waiting: VecDeque<Parcel>,
    attempts: JoinSet<Ending>,
    /// The deliveries of both.
    under_way: HashSet<i64>,
    /// When to look into the store.
    look: i64,
    /// The service was away when last seen.
    away: bool,
    /// Deliveries that were brought forward lately, and when.
    freshened: HashMap<i64, i64>,
    /// How many attempts were begun: instances are asked in turn.
    turn: usize,
}

impl Lane {
    pub(super) fn new(inbox: Inbox, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            setup: inbox.shared.setup.clone(),
            destination: None,
            places: inbox.shared.places.clone(),
            bell: inbox.shared.bells.of(name),
            inbox,
            waiting: VecDeque::new(),
            attempts: JoinSet::new(),
            under_way: HashSet::new(),
            look: 0,
            away: false,
            freshened: HashMap::new(),
            turn: 0,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.configure();
        while !stop.is_cancelled() {
            let nap = self.step().await;
            tokio::select! {
                Some(ended) = self.attempts.join_next() => self.ended(ended.ok()),
                () = self.bell.notified() => self.look = 0,
                Ok(()) = self.places.changed() => {}
                Ok(()) = self.setup.changed() => self.configure(),
                () = tokio::time::sleep(nap.unwrap_or_default()), if nap.is_some() => {}
                () = stop.cancelled() => {}
            }
        }
        let ending = async { while self.attempts.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, ending).await;
    }

    /// Begins what can be begun. How long to sleep if nothing happens; `None` if only a happening changes anything.
    async fn step(&mut self) -> Option<Duration> {
        let Some((destination, addresses)) = self.place() else {
            self.put_back();
            return None;
        };
        if std::mem::take(&mut self.away) {
            self.freshen().await;
        }
        let room = destination.concurrency.max(1);
        // Nothing is put off for longer than this unless the clock was set back since.
        let look = self.look <= self.inbox.now() || self.look > self.inbox.now() + UNRUNG;
        if self.waiting.is_empty() && self.attempts.len() < room && look {
            self.fill(room).await;
        }
        while self.attempts.len() < room
            && let Some(parcel) = self.waiting.pop_front()
        {
            let address = addresses[self.turn % addresses.len()];
            self.turn = self.turn.wrapping_add(1);
            let (inbox, destination) = (self.inbox.clone(), Arc::clone(&destination));
            self.attempts.spawn(async move {
                let shared = &inbox.shared;
                let ending = attempt(&shared.client, &destination, address, &parcel, &shared.clock).await;
                inbox.finish(&destination.name, ending).await
            });
        }
        let full = self.attempts.len() >= room;
        let ahead = u64::try_from(self.look.saturating_sub(self.inbox.now())).unwrap_or(0);
        (!full).then(|| Duration::from_millis(ahead).min(NAP))
    }

    fn configure(&mut self) {
        let setup = self.setup.borrow_and_update();
        let destination = setup.destinations.iter().find(|destination| destination.name == self.name);
        self.destination = destination.cloned().map(Arc::new);
    }

    /// The destination and where it is, unless it has to wait. One that cannot be signed for waits too.
    fn place(&mut self) -> Option<(Arc<Destination>, Vec<IpAddr>)> {
        let destination = self.destination.clone()?;
        match self.places.borrow_and_update().services.get(&destination.service)? {
            Place::At(addresses) if !addresses.is_empty() => {
                let signable = destination.signing == Signing::Original || !destination.secrets.is_empty();
                signable.then(|| (destination, addresses.clone()))
            }
            _ => {
                self.away = true;
                None
            }
        }
    }

    /// Lets go of what is not begun; it is still pending in the store.
    fn put_back(&mut self) {
        for parcel in self.waiting.drain(..) {
            self.under_way.remove(&parcel.delivery);
            self.look = 0;
        }
    }

    async fn freshen(&mut self) {
        let (name, now) = (self.name.clone(), self.inbox.now());
        self.freshened.retain(|_, at| now - *at < FRESHENED);
        let spared = self.freshened.clone();
        let freshened = self.inbox.shared.store.write(move |tx| rows::freshen(tx, &name, now, &spared)).await;
        match freshened {
            Ok(numbers) => {
                tracing::info!(
                    destination = self.name,
                    count = numbers.len(),
                    "back: delivering what waited"
                );
                self.freshened.extend(numbers.into_iter().map(|number| (number, now)));
            }
            Err(error) => tracing::error!(destination = self.name, "{}", report::line(&error)),
        }
        self.look = 0;
    }

    async fn fill(&mut self, room: usize) {
        let (name, now, limit) = (self.name.clone(), self.inbox.now(), HANDFUL.max(2 * room));
        let under_way = self.under_way.clone();
        let found =
            self.inbox.shared.store.read(move |sql| rows::due(sql, &name, now, &under_way, limit)).await;
        match found {
            Ok(due) => {
                let unrung = now + UNRUNG;
                self.look = if due.more { 0 } else { due.next.map_or(unrung, |next| next.min(unrung)) };
                self.under_way.extend(due.parcels.iter().map(|parcel| parcel.delivery));
                self.waiting.extend(due.parcels);
            }
            Err(error) => {
                tracing::error!(destination = self.name, "{}", report::line(&error));
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    fn ended(&mut self, ended: Option<Ending>) {
        let Some(ending) = ended else {
            // Only a panic leads here, and it left a delivery that must not wait for the next start.
            self.under_way = self.waiting.iter().map(|parcel| parcel.delivery).collect();
            self.look = 0;
            return;
        };
        self.under_way.remove(&ending.delivery);
        self.look = match ending.next {
            // Whatever waited for it in its lane may go now.
            _ if self.destination.as_ref().is_some_and(|known| known.ordered) => 0,
            Next::Again(due) => self.look.min(due),
            Next::Delivered | Next::Dead => self.look,
        };
    }
}
