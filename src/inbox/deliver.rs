//! The delivering task: a lane for every destination, so that none waits for another.

mod attempt;
mod headers;
mod lane;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rows::Ending;
use super::{Inbox, Place, Setup, rows};
use crate::{report, store};

use attempt::attempt;
pub(super) use attempt::{Client, client};
use lane::Lane;

/// An event that nobody wants waits this long (milliseconds) for a destination that does: as long as one that is
/// wanted would be tried.
pub(super) const CLAIMABLE: i64 = 72 * 60 * 60 * 1000;

/// An event that came in while destinations changed may have been kept by the older ones: it is looked for again.
const EVERY: Duration = Duration::from_secs(60);

/// Wakes the lane of a destination as soon as something for it is committed.
#[derive(Default)]
pub(super) struct Bells(Mutex<BTreeMap<String, Arc<Notify>>>);

impl Bells {
    pub(super) fn of(&self, destination: &str) -> Arc<Notify> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(destination) {
            return Arc::clone(bell);
        }
        Arc::clone(bells.entry(destination.to_owned()).or_default())
    }

    pub(super) fn ring<'a>(&self, destinations: impl IntoIterator<Item = &'a String>) {
        destinations.into_iter().for_each(|destination| self.of(destination).notify_one());
    }
}

/// Delivers until `stop`. A lane is never taken away: one whose destination is not configured any more keeps what is
/// pending, and goes on when it is again within three days.
pub(super) async fn run(inbox: Inbox, stop: CancellationToken) {
    let lanes = TaskTracker::new();
    let mut running = BTreeSet::new();
    let mut setup = inbox.shared.setup.clone();
    let mut gone = Gone::default();
    loop {
        let current = Arc::clone(&setup.borrow_and_update());
        for destination in &current.destinations {
            if running.insert(destination.name.clone()) {
                lanes.spawn(Lane::new(inbox.clone(), &destination.name).run(stop.clone()));
            }
        }
        claim(&inbox).await;
        gone.look(&inbox, &current).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            changed = setup.changed() => if changed.is_err() {
                // Nobody configures any more; what is configured stands.
                stop.cancelled().await;
            },
            () = stop.cancelled() => {}
        }
        if stop.is_cancelled() {
            lanes.close();
            return lanes.wait().await;
        }
    }
}

/// Gives what nobody wanted so far to whoever wants it now.
async fn claim(inbox: &Inbox) {
    let setup = inbox.setup();
    let now = inbox.now();
    let claimed = inbox.shared.store.write(move |tx| rows::claim(tx, &setup, now - CLAIMABLE, now)).await;
    match claimed {
        Ok(woken) => inbox.shared.bells.ring(&woken),
        Err(error) => tracing::error!("unclaimed events: {}", report::line(&error)),
    }
}

/// Destinations that something is pending for and that are not configured any more: their services were renamed, or
/// are gone.
#[derive(Default)]
struct Gone {
    /// Since when each is seen to be gone.
    since: BTreeMap<String, i64>,
    /// Some destination was configured. Before that the stack is not known yet.
    settled: bool,
}

impl Gone {
    /// What is pending for those that have been gone for as long as anything is tried is dead.
    async fn look(&mut self, inbox: &Inbox, setup: &Setup) {
        self.settled |= !setup.destinations.is_empty();
        if !self.settled {
            return;
        }
        if let Err(error) = self.bury(inbox, setup).await {
            tracing::error!("events for nobody: {}", report::line(&error));
        }
    }

    async fn bury(&mut self, inbox: &Inbox, setup: &Setup) -> Result<(), store::Error> {
        let now = inbox.now();
        let mut awaited = inbox.shared.store.read(rows::awaited).await?;
        for known in &setup.destinations {
            awaited.remove(&known.name);
        }
        self.since.retain(|name, _| awaited.contains(name));
        for name in awaited {
            self.since.entry(name).or_insert(now);
        }
        let over = self.since.iter().filter(|(_, since)| **since <= now - CLAIMABLE);
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        if !over.is_empty() {
            let names = over.join(", ");
            let count = inbox.shared.store.write(move |tx| rows::bury(tx, &over)).await?;
            tracing::warn!(destinations = names, count, "gone for three days: what waited for them is dead");
        }
        Ok(())
    }
}

/// The one attempt of a delivery that passes through, or why there can be none.
pub(super) async fn at_once(inbox: &Inbox, number: i64, name: &str) -> Result<Ending, String> {
    let setup = inbox.setup();
    let destination = setup.destinations.iter().find(|destination| destination.name == name);
    let destination = destination.ok_or("it is not configured any more")?;
    let address = match inbox.shared.places.borrow().services.get(&destination.service) {
        Some(Place::At(addresses)) => addresses.first().copied().ok_or("it has no instance")?,
        Some(Place::Away { why }) => return Err(why.clone()),
        None => return Err("it does not run".into()),
    };
    let parcel = inbox.shared.store.read(move |sql| rows::parcel(sql, number)).await;
    let parcel = parcel.map_err(|error| report::line(&error))?.ok_or("it is not kept any more")?;
    let ending = attempt(&inbox.shared.client, destination, address, &parcel, &inbox.shared.clock).await;
    Ok(inbox.finish(&destination.name, ending).await)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::super::event::Head;
    use super::super::rows::Incoming;
    use super::super::{Destination, Places, Signing};
    use super::*;
    use crate::store::Store;

    fn books() -> Destination {
        Destination {
            name: "books".into(),
            service: "books".into(),
            endpoint: None,
            events: vec!["*".parse().unwrap()],
            path: "/".into(),
            port: 1,
            secrets: Vec::new(),
            concurrency: 1,
            timeout: Duration::from_secs(1),
            ordered: false,
            signing: Signing::Stripe,
            passthrough: false,
        }
    }

    /// Whoever takes an event in has looked at what is configured before the event is written down.
    #[tokio::test(start_paused = true)]
    async fn an_event_kept_while_destinations_changed_is_claimed_within_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db"), rows::MIGRATIONS).unwrap();
        let now = 1_700_000_000_000;
        let setup = watch::Sender::new(Arc::new(Setup { destinations: vec![books()], ..Setup::default() }));
        let places = watch::Sender::new(Places::default());
        let inbox = Inbox::new(store.clone(), setup.subscribe(), places.subscribe(), Arc::new(move || now));
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(inbox.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let body = br#"{"id":"evt_1","object":"event","type":"ping"}"#;
        let incoming = Incoming {
            endpoint: "default".into(),
            head: Head::read(body).unwrap(),
            received: now,
            simulated: false,
            client: None,
            content_type: "application/json".into(),
            signature: String::new(),
            body: body.to_vec(),
        };
        let older = Setup::default();
        store.write(move |tx| rows::keep(tx, &incoming, &older).map(drop)).await.unwrap();
        tokio::time::sleep(EVERY).await;
        let pending = async || {
            let backlog = inbox.reader().backlog().await.unwrap();
            backlog.first().is_some_and(|left| left.pending == 1)
        };
        // The store works in real time, whatever the clock says.
        let begun = std::time::Instant::now();
        while !pending().await {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody claims it");
        }
        stop.cancel();
        running.await.unwrap();
    }
}
