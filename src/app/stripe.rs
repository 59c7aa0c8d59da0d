//! The Stripe wing tied to the rest: its configuration from files and labels, its places from the reconciler, its
//! secrets to the services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use chrono::Utc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SecretFile, StripeMode};
use crate::http::{Rate, Secret};
use crate::inbox::{
    Destination, Endpoint, Inbox, Keep, Pattern, Place, Places, SecretsError, Setup, Signing, SigningSecret,
};
use crate::model::run::Failure;
use crate::model::stripe::{self, Standing};
use crate::reconcile::{Live, Secrets};
use crate::report;
use crate::store::Store;
use crate::trigger::{Reason, Wakes};

use super::open::HookError;

/// Files with secrets may be written, and old secrets run out, without a word.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon somebody is told of what could not be delivered for three days.
const COUNT_AGAIN: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 60 * 60;

/// The wing, and the two channels on which it is told about the rest.
#[derive(Clone)]
pub struct Wing {
    pub inbox: Inbox,
    config: Arc<Config>,
    setup: watch::Sender<Arc<Setup>>,
    places: watch::Sender<Places>,
}

impl Wing {
    /// `None` when no endpoint has a secret.
    pub(super) fn open(config: &Arc<Config>, store: Store) -> Option<Self> {
        config.stripe.open().next()?;
        // Configured before anybody can knock: who is told of no endpoint here takes it for removed.
        let (endpoints, _) = endpoints(config, &[]);
        let setup = Setup { endpoints, destinations: Vec::new(), keep: keep(config) };
        let (setup, places) = (watch::Sender::new(Arc::new(setup)), watch::Sender::default());
        let clock = Arc::new(|| Utc::now().timestamp_millis());
        let inbox = Inbox::new(store, setup.subscribe(), places.subscribe(), clock);
        Some(Self { inbox, config: config.clone(), setup, places })
    }

    /// The address that Stripe knocks at. Stripe sends from few addresses, and in bursts: what bounds them is how
    /// fast the disk is.
    pub(super) fn router(&self) -> Router {
        let rate = Rate { per_second: 1000.0, burst: 10_000, ..Rate::default() };
        rate.limit(self.inbox.router())
    }

    /// What gives services their secrets.
    pub(super) fn secrets(&self) -> Secrets {
        let inbox = self.inbox.clone();
        Arc::new(move |service| {
            let inbox = inbox.clone();
            Box::pin(async move {
                let secrets = inbox.secrets(&service).await.map_err(|error| report::line(&error))?;
                Ok(secrets.first().map(|secret| secret.expose().to_owned()).unwrap_or_default())
            })
        })
    }

    /// Says which secrets cannot be read.
    pub(super) fn complain(&self) {
        complain(&endpoints(&self.config, &[]).1);
    }

    /// Follows the files, the release and the containers until `stop`.
    pub(super) async fn follow(self, mut live: watch::Receiver<Live>, wakes: Wakes, stop: CancellationToken) {
        let mut rotations = self.inbox.rotations();
        let mut known = Known::default();
        loop {
            let now = live.borrow_and_update().clone();
            if let Err(error) = self.publish(&now, &mut known).await {
                tracing::error!("Stripe: {}; what was configured before stands", report::line(&error));
            }
            tokio::select! {
                changed = live.changed() => if changed.is_err() { return },
                Ok(()) = rotations.changed() => {
                    // Its service is rolled, and finds the new secret in its environment.
                    if let Err(error) = wakes.wake(Reason::Cli).await {
                        tracing::error!("{}", report::line(&error));
                    }
                }
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tells how many deliveries are dead, until `stop`.
    pub(super) async fn count_dead(self, told: watch::Sender<Option<u64>>, stop: CancellationToken) {
        loop {
            match self.inbox.reader().backlog().await {
                Ok(backlog) => {
                    told.send_replace(Some(backlog.iter().map(|left| u64::from(left.dead)).sum()));
                }
                Err(error) => tracing::error!("what is dead cannot be counted: {}", report::line(&error)),
            }
            tokio::select! {
                () = tokio::time::sleep(COUNT_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Places first: they come from the engine alone, and no secret's trouble may leave events going to addresses
    /// that are somebody else's by now.
    async fn publish(&self, live: &Live, known: &mut Known) -> Result<(), SecretsError> {
        let services: BTreeMap<_, _> =
            live.standings.iter().map(|(name, standing)| (name.clone(), place(standing))).collect();
        self.places.send_if_modified(|places| {
            let changed = places.services != services;
            places.services = services;
            changed
        });
        let mut destinations = Vec::new();
        for destination in &live.destinations {
            let secrets = self.inbox.secrets(&destination.service).await?;
            destinations.push(to_wing(destination, secrets));
        }
        let before = Arc::clone(&self.setup.borrow());
        let (endpoints, troubles) = endpoints(&self.config, &before.endpoints);
        if known.troubles != troubles {
            complain(&troubles);
            known.troubles = troubles;
        }
        let setup = Setup { endpoints, destinations, keep: keep(&self.config) };
        let text = told_apart(&setup);
        if known.setup != text {
            known.setup = text;
            self.setup.send_replace(Arc::new(setup));
        }
        Ok(())
    }
}

fn keep(config: &Config) -> Keep {
    let days = config.stripe.keep.as_secs() / DAY;
    Keep { days: u32::try_from(days).unwrap_or(u32::MAX), bytes: config.stripe.max_size.0 }
}

/// Stands in the wing's place at the door for orders while there is none.
pub(super) fn closed() -> Router {
    let refuse = async || {
        let message = "no event of Stripe's can come in: no endpoint has a secret".to_owned();
        let hint = Some(
            "name a file in `secret_files` under [stripe.endpoints.default], then: agent reload".to_owned(),
        );
        (StatusCode::UNPROCESSABLE_ENTITY, Json(Failure { message, hint, ..Failure::default() }))
    };
    Router::new().route("/stripe/{order}", post(refuse))
}

/// What was published and complained of last.
#[derive(Default)]
struct Known {
    setup: String,
    troubles: Vec<String>,
}

fn complain(troubles: &[String]) {
    for trouble in troubles {
        tracing::error!("Stripe: {trouble}");
    }
}

/// Every endpoint with the secrets that can be read, and what is wrong with the others. One of which none can be read
/// keeps those it had `before`: a file is empty for a moment while somebody writes it.
fn endpoints(config: &Config, before: &[Endpoint]) -> (Vec<Endpoint>, Vec<String>) {
    let (mut endpoints, mut troubles) = (Vec::new(), Vec::new());
    for (name, endpoint) in config.stripe.open() {
        let livemode = endpoint.mode.map(|mode| mode == StripeMode::Live);
        let mut secrets = Vec::new();
        for file in &endpoint.secret_files {
            match secret(file) {
                Ok(secret) => secrets.push(SigningSecret { secret, livemode }),
                Err(error) => troubles.push(format!("endpoint `{name}`: {}", report::line(&error))),
            }
        }
        if secrets.is_empty() {
            let known = before.iter().find(|known| known.name == *name);
            secrets = known.map(|known| known.secrets.clone()).unwrap_or_default();
            let until = if secrets.is_empty() { "takes no event" } else { "goes on with what it had" };
            troubles.push(format!("endpoint `{name}` {until} until a secret of its can be read"));
        }
        endpoints.push(Endpoint { name: name.clone(), secrets, tolerance: config.stripe.tolerance });
    }
    (endpoints, troubles)
}

fn secret(file: &SecretFile) -> Result<Secret, HookError> {
    Ok(Secret::new(file.read()?)?)
}

fn to_wing(destination: &stripe::Destination, secrets: Vec<Secret>) -> Destination {
    Destination {
        name: destination.service.clone(),
        service: destination.service.clone(),
        endpoint: destination.endpoint.clone(),
        // They were checked when the label was read.
        events: destination.events.iter().filter_map(|text| text.parse::<Pattern>().ok()).collect(),
        path: destination.path.clone(),
        port: destination.port,
        secrets,
        concurrency: destination.concurrency.into(),
        timeout: destination.timeout,
        ordered: destination.ordered,
        signing: Signing::Stripe,
        passthrough: destination.passthrough,
    }
}

fn place(standing: &Standing) -> Place {
    match standing {
        Standing::At(addresses) => Place::At(addresses.iter().copied().map(IpAddr::V4).collect()),
        Standing::Away(why) => Place::Away { why: why.clone() },
    }
}

/// A text that differs where two setups do. It holds the secrets, which their own debug output hides.
fn told_apart(setup: &Setup) -> String {
    let ours = setup.destinations.iter().flat_map(|destination| &destination.secrets);
    let stripes = setup.endpoints.iter().flat_map(|endpoint| &endpoint.secrets).map(|secret| &secret.secret);
    let secrets: Vec<&str> = ours.chain(stripes).map(Secret::expose).collect();
    format!("{setup:?}{secrets:?}")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::model::project::Service;
    use crate::plan::stripe as labels;

    struct Shop {
        folder: tempfile::TempDir,
        config: Config,
        store: Store,
        wing: Wing,
    }

    impl Shop {
        /// Whose one endpoint has these files of secrets, none of which is there yet.
        fn new(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut config = Config::default();
            let endpoint = config.stripe.endpoints.get_mut("default").unwrap();
            endpoint.secret_files =
                files.iter().map(|name| SecretFile::File(folder.path().join(name))).collect();
            let store = Store::open(&folder.path().join("agent.db"), crate::inbox::MIGRATIONS).unwrap();
            let wing = Wing::open(&Arc::new(config.clone()), store.clone()).unwrap();
            Self { folder, config, store, wing }
        }

        fn restart(&mut self) {
            self.wing = Wing::open(&Arc::new(self.config.clone()), self.store.clone()).unwrap();
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn remove(&self, name: &str) {
            std::fs::remove_file(self.folder.path().join(name)).unwrap();
        }

        async fn publish(&self, address: u8) {
            let at = Standing::At(vec![[10, 0, 0, address].into()]);
            let live = Live { destinations: Vec::new(), standings: [("shop".to_owned(), at)].into() };
            let _ = self.wing.publish(&live, &mut Known::default()).await;
        }

        fn place(&self) -> Option<Place> {
            self.wing.places.borrow().services.get("shop").cloned()
        }

        /// The secrets of the endpoint.
        fn believed(&self) -> Vec<String> {
            let setup = self.wing.setup.borrow();
            let secrets = setup.endpoints.iter().flat_map(|endpoint| &endpoint.secrets);
            secrets.map(|signing| signing.secret.expose().to_owned()).collect()
        }
    }

    fn at(address: u8) -> Option<Place> {
        Some(Place::At(vec![[10, 0, 0, address].into()]))
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_keeps_no_address_from_being_told() {
        let shop = Shop::new(&["one"]);
        shop.write("one", "whsec_1");
        shop.publish(1).await;
        assert_eq!((shop.place(), shop.believed()), (at(1), vec!["whsec_1".to_owned()]));
        shop.remove("one");
        shop.publish(2).await;
        assert_eq!(
            (shop.place(), shop.believed()),
            (at(2), vec!["whsec_1".to_owned()]),
            "it goes on with it"
        );
    }

    #[tokio::test]
    async fn of_two_secrets_the_one_that_can_be_read_counts() {
        let mut shop = Shop::new(&["one", "two"]);
        shop.write("two", "whsec_2");
        shop.restart();
        assert_eq!(shop.believed(), ["whsec_2"]);
        shop.write("one", "whsec_1");
        shop.publish(1).await;
        assert_eq!(shop.believed(), ["whsec_1", "whsec_2"]);
    }

    #[tokio::test]
    async fn an_agent_without_its_secrets_starts_and_takes_events_once_they_are_there() {
        let shop = Shop::new(&["one"]);
        assert!(shop.believed().is_empty());
        shop.write("one", "whsec_1");
        shop.publish(1).await;
        assert_eq!(shop.believed(), ["whsec_1"]);
    }

    /// The doors may open before anything else happens.
    #[tokio::test]
    async fn a_wing_that_was_just_opened_knows_its_endpoints() {
        let mut shop = Shop::new(&["one"]);
        shop.write("one", "whsec_1");
        shop.restart();
        let request = Request::post("/webhooks/stripe").body(axum::body::Body::from("{}")).unwrap();
        let answer = shop.wing.inbox.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "not signed, and not unknown");
    }

    #[test]
    fn every_pattern_that_a_label_may_say_is_one_to_the_wing() {
        for text in
            ["*", "checkout.session.*", "invoice.paid,v2.core.event_destination.ping , ping", "v1.a_b.*"]
        {
            let labels = [(labels::PATH, "/w"), (labels::PORT, "1"), (labels::EVENTS, text)]
                .map(|(k, v)| (k.into(), v.into()));
            let service = Service { name: "shop".into(), labels: labels.into(), ..Service::default() };
            let read = labels::destination(&service, &[], false, "f").unwrap().unwrap();
            assert_eq!(to_wing(&read, Vec::new()).events.len(), text.split(',').count(), "{text}");
        }
        for text in ["", ",", "a.*.b", "check*", "**", "Invoice.paid"] {
            assert!(text.split(',').any(|text| text.trim().parse::<Pattern>().is_err()), "{text}");
            let labels = [(labels::PATH, "/w"), (labels::PORT, "1"), (labels::EVENTS, text)]
                .map(|(k, v)| (k.into(), v.into()));
            let service = Service { name: "shop".into(), labels: labels.into(), ..Service::default() };
            assert!(labels::destination(&service, &[], false, "f").is_err(), "{text}");
        }
    }
}
