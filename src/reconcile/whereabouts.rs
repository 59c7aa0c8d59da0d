//! Where the services that take Stripe's events are right now, published for whoever brings them. Told by the
//! journal of the run in progress before the act that an entry announces; looked up again after every happening.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::run::{Entry, RunId};
use crate::model::stripe::{Destination, Standing};
use crate::plan::standing::{Rolling, standing};
use crate::report;
use crate::roll::probe;

use super::Reconciler;

/// A happening may be missed.
const SLOW: Duration = Duration::from_secs(60);
/// After the engine did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// While an instance runs and does not answer yet.
const SOON: Duration = Duration::from_millis(200);

/// What is live, as far as events are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    pub destinations: Vec<Destination>,
    /// By service, of all destinations.
    pub standings: BTreeMap<String, Standing>,
}

enum Look {
    Done,
    /// Something is about to change of which nobody tells.
    Soon,
}

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Whereabouts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    published: watch::Sender<Live>,
    look: Notify,
}

#[derive(Debug, Default)]
struct Known {
    rolling: Option<Rolling>,
    live: Option<Desired>,
}

impl Default for Whereabouts {
    fn default() -> Self {
        let (known, published, look) = (Mutex::default(), watch::Sender::default(), Notify::new());
        Self(Arc::new(Shared { known, published, look }))
    }
}

impl Whereabouts {
    pub fn subscribe(&self) -> watch::Receiver<Live> {
        self.0.published.subscribe()
    }

    /// Takes an entry of a run's log. A service that the entry takes away is away when this returns.
    pub(super) fn note(&self, run: RunId, entry: &Entry) {
        let mut known = self.known();
        if let Entry::Ended { .. } = entry {
            known.rolling = None;
        } else {
            let fresh = || Rolling::new(run);
            let rolling = known.rolling.get_or_insert_with(fresh);
            if rolling.run() != run {
                *rolling = fresh();
            }
            if !rolling.note(entry) {
                return;
            }
        }
        drop(known);
        if let Entry::BringingUp { service, .. } = entry {
            self.0.published.send_if_modified(|live| {
                let away = Standing::Away("it is being replaced".to_owned());
                live.standings
                    .get_mut(service)
                    .is_some_and(|standing| std::mem::replace(standing, away.clone()) != away)
            });
        }
        self.0.look.notify_one();
    }

    /// From now on this is live.
    pub(super) fn live(&self, desired: &Desired) {
        self.known().live = Some(desired.clone());
        self.0.look.notify_one();
    }

    /// Something happened to a container.
    pub(super) fn look_again(&self) {
        self.0.look.notify_one();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Engine> Reconciler<E> {
    /// Publishes where services are, until `stop`.
    pub async fn keep_whereabouts(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                let pause = match self.look_for_services().await {
                    Ok(Look::Done) => SLOW,
                    Ok(Look::Soon) => SOON,
                    Err(why) => {
                        // What was published stands: services run on without their engine.
                        tracing::warn!("where services are cannot be seen: {why}");
                        AGAIN
                    }
                };
                let _ = tokio::time::timeout(pause, self.whereabouts.0.look.notified()).await;
            }
        })
        .await;
    }

    async fn look_for_services(&self) -> Result<Look, String> {
        if self.whereabouts.known().live.is_none() {
            let current = self.record.current().await.map_err(|error| report::line(&error))?;
            let Some(current) = current else { return Ok(Look::Done) };
            self.whereabouts.known().live.get_or_insert(current.desired);
        }
        let observed = self.engine.observe(&self.config.stack.name).await;
        let observed = observed.map_err(|error| report::line(&error))?;
        let silent = self.silent(&observed).await;
        // Published under the lock: what an entry takes away meanwhile must not be brought back by an older look.
        let known = self.whereabouts.known();
        let Some(desired) = &known.live else { return Ok(Look::Done) };
        let services =
            desired.services.values().filter_map(|service| Some((service, service.stripe.clone()?)));
        let mut live = Live::default();
        for (service, destination) in services {
            let standing = standing(&desired.stack, service, &observed, known.rolling.as_ref());
            let standing = match standing {
                Standing::At(mut addresses) if addresses.iter().any(|one| silent.contains(one)) => {
                    addresses.retain(|one| !silent.contains(one));
                    let nobody = || Standing::Away("it does not answer yet".to_owned());
                    if addresses.is_empty() { nobody() } else { Standing::At(addresses) }
                }
                standing => standing,
            };
            live.standings.insert(destination.service.clone(), standing);
            live.destinations.push(destination);
        }
        self.whereabouts.0.published.send_if_modified(|published| {
            let changed = *published != live;
            *published = live;
            changed
        });
        Ok(if silent.is_empty() { Look::Done } else { Look::Soon })
    }

    /// Instances that run, are not published yet, and do not answer the question that their gate asks: one that was
    /// started again outside a run has passed none since.
    async fn silent(&self, observed: &Observed) -> BTreeSet<Ipv4Addr> {
        let Some(desired) = self.whereabouts.known().live.clone() else { return BTreeSet::new() };
        let published = self.whereabouts.0.published.borrow().standings.clone();
        let taking = desired.services.values().filter(|service| service.stripe.is_some());
        let asked = taking.filter_map(|service| Some((service, service.gate.probe.as_ref()?)));
        let asked = asked.flat_map(|(service, question)| {
            let name = &service.template.service;
            let known = match published.get(name) {
                Some(Standing::At(addresses)) => addresses.as_slice(),
                _ => &[],
            };
            let instances = observed.instances.iter().filter(move |i| i.service == *name && i.running());
            let addresses = instances.flat_map(|i| i.endpoints.values().filter_map(|e| e.address));
            addresses.filter(|address| !known.contains(address)).map(move |address| (question, address))
        });
        let within = self.config.roll.probe_timeout;
        let answers = asked.map(|(question, address)| async move {
            probe::ask(question, address, within).await.is_err().then_some(address)
        });
        join_all(answers).await.into_iter().flatten().collect()
    }
}
