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

use crate::config::{Config, StripeMode};
use crate::http::{Rate, Secret};
use crate::inbox::{
    Destination, Endpoint, Inbox, Keep, Pattern, Place, Places, Setup, Signing, SigningSecret,
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
        let (setup, places) = (watch::Sender::default(), watch::Sender::default());
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

    /// What is configured now, with no service to bring events to yet.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub(super) fn begin(&self) -> Result<(), HookError> {
        let setup =
            Setup { endpoints: endpoints(&self.config)?, destinations: Vec::new(), keep: self.keep() };
        self.setup.send_replace(Arc::new(setup));
        Ok(())
    }

    /// Follows the files, the release and the containers until `stop`.
    pub(super) async fn follow(self, mut live: watch::Receiver<Live>, wakes: Wakes, stop: CancellationToken) {
        let mut rotations = self.inbox.rotations();
        let mut known = String::new();
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

    async fn publish(&self, live: &Live, known: &mut String) -> Result<(), HookError> {
        let mut destinations = Vec::new();
        for destination in &live.destinations {
            let secrets = self.inbox.secrets(&destination.service).await?;
            destinations.push(to_wing(destination, secrets));
        }
        let setup = Setup { endpoints: endpoints(&self.config)?, destinations, keep: self.keep() };
        let text = told_apart(&setup);
        if *known != text {
            *known = text;
            self.setup.send_replace(Arc::new(setup));
        }
        let services: BTreeMap<_, _> =
            live.standings.iter().map(|(name, standing)| (name.clone(), place(standing))).collect();
        self.places.send_if_modified(|places| {
            let changed = places.services != services;
            places.services = services;
            changed
        });
        Ok(())
    }

    fn keep(&self) -> Keep {
        let days = self.config.stripe.keep.as_secs() / DAY;
        Keep { days: u32::try_from(days).unwrap_or(u32::MAX), bytes: self.config.stripe.max_size.0 }
    }
}

/// Stands in the wing's place at the door for orders while there is none.
pub(super) fn closed() -> Router {
    let refuse = async || {
        let message = "no event of Stripe's can come in: no endpoint has a secret".to_owned();
        let hint = Some(
            "name a file in `secret_files` under [stripe.endpoints.default], and restart the agent"
                .to_owned(),
        );
        (StatusCode::UNPROCESSABLE_ENTITY, Json(Failure { message, hint, ..Failure::default() }))
    };
    Router::new().route("/stripe/{order}", post(refuse))
}

fn endpoints(config: &Config) -> Result<Vec<Endpoint>, HookError> {
    let one = |(name, endpoint): (&String, &crate::config::StripeEndpoint)| {
        let livemode = endpoint.mode.map(|mode| mode == StripeMode::Live);
        let secrets = endpoint
            .secret_files
            .iter()
            .map(|file| Ok(SigningSecret { secret: Secret::new(file.read()?)?, livemode }));
        let secrets = secrets.collect::<Result<_, HookError>>()?;
        Ok(Endpoint { name: name.clone(), secrets, tolerance: config.stripe.tolerance })
    };
    config.stripe.open().map(one).collect()
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
    use super::*;
    use crate::model::project::Service;
    use crate::plan::stripe as labels;

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
