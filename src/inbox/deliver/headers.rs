//! What stands above the body of a delivered event. Pure.

use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::super::rows::Parcel;
use super::super::{Destination, Signing, schedule, signature};

const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// The headers of an attempt at `now` (milliseconds), each once: an app that finds two signatures in a row believes
/// none.
pub(super) fn headers(destination: &Destination, parcel: &Parcel, now: i64) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let mut set = |name: HeaderName, value: String| {
        // What came from outside was read as text of visible characters, so nothing is left out here.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let relay = HeaderName::from_static;
    let id = delivery_id(&parcel.endpoint, &parcel.id, &parcel.destination);
    // The name under which callers in the stack know it: frameworks check it.
    set(HOST, format!("{}:{}", destination.service, destination.port));
    set(USER_AGENT, concat!("agent/", env!("CARGO_PKG_VERSION")).to_owned());
    set(CONTENT_TYPE, parcel.content_type.clone());
    set(
        STRIPE_SIGNATURE,
        match destination.signing {
            Signing::Stripe => signature::sign(&destination.secrets, &parcel.body, now / 1000),
            Signing::Original => parcel.signature.clone(),
        },
    );
    set(relay("idempotency-key"), id.clone());
    set(relay("x-relay-delivery-id"), id);
    set(relay("x-relay-event-id"), parcel.id.clone());
    set(relay("x-relay-endpoint"), parcel.endpoint.clone());
    set(relay("x-relay-attempt"), (parcel.attempts + 1).to_string());
    set(relay("x-relay-trigger"), trigger(parcel).to_owned());
    set(relay("x-relay-received-at"), (parcel.received / 1000).to_string());
    set(relay("x-relay-original-stripe-signature"), parcel.signature.clone());
    if let Some(client) = &parcel.client {
        set(relay("x-relay-original-ip"), client.clone());
    }
    if let Some(gap) = next(destination, parcel) {
        set(relay("x-relay-next-retry-at"), ((now + gap) / 1000).to_string());
    }
    headers
}

/// How long after this attempt the next one would be due; none after the last, and none of ours where Stripe tries
/// again.
fn next(destination: &Destination, parcel: &Parcel) -> Option<i64> {
    let ours = !destination.passthrough;
    schedule::after(parcel.step, parcel.delivery.cast_unsigned()).filter(|_| ours)
}

/// Why this attempt is made. Of a simulated event nothing else is ever said: an app that moves goods must be able
/// to tell.
fn trigger(parcel: &Parcel) -> &str {
    if parcel.simulated { "simulated" } else { &parcel.cause }
}

/// The same for every attempt of a delivery, and for no other's.
fn delivery_id(endpoint: &str, event: &str, destination: &str) -> String {
    let mut hash = Sha256::new();
    for part in [endpoint, event, destination] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("dlv_{}", hex::encode(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::Secret;

    fn destination(signing: Signing) -> Destination {
        Destination {
            name: "books".into(),
            service: "books-app".into(),
            endpoint: None,
            events: vec!["*".parse().unwrap()],
            path: "/hook".into(),
            port: 8000,
            secrets: ["whsec_new", "whsec_old"].map(|text| Secret::new(text).unwrap()).into(),
            concurrency: 4,
            timeout: Duration::from_secs(15),
            ordered: false,
            signing,
            passthrough: false,
        }
    }

    fn parcel() -> Parcel {
        Parcel {
            delivery: 7,
            destination: "books".into(),
            cause: "initial".into(),
            step: 0,
            attempts: 0,
            endpoint: "default".into(),
            id: "evt_1".into(),
            received: 1_700_000_000_123,
            simulated: false,
            client: Some("3.18.12.63".into()),
            content_type: "application/json; charset=utf-8".into(),
            signature: "t=1,v1=00".into(),
            body: "{}".into(),
        }
    }

    fn value(headers: &HeaderMap, name: &str) -> Option<String> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(values.next(), None, "{name} stands twice");
        value
    }

    #[test]
    fn a_delivery_says_what_it_is_and_where_it_came_from() {
        let found = headers(&destination(Signing::Stripe), &parcel(), 1_700_000_010_000);
        let text: Vec<String> =
            found.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        host: books-app:8000
        user-agent: agent/0.1.0
        content-type: application/json; charset=utf-8
        stripe-signature: t=1700000010,v1=36d50625c35689395f31ed1c3c09a82783b9974e1a3f829cbd93031935c70a25,v1=df58c3bdf53df0c64efe4b840c36b3a1342b4944a43aade8c50e3ed3177cefbd
        idempotency-key: dlv_008eba40dc2b62687d67126df76fced3
        x-relay-delivery-id: dlv_008eba40dc2b62687d67126df76fced3
        x-relay-event-id: evt_1
        x-relay-endpoint: default
        x-relay-attempt: 1
        x-relay-trigger: initial
        x-relay-received-at: 1700000000
        x-relay-original-stripe-signature: t=1,v1=00
        x-relay-original-ip: 3.18.12.63
        x-relay-next-retry-at: 1700000015
        ");
    }

    #[test]
    fn every_attempt_is_signed_anew_under_the_same_delivery_id() {
        let mut later = parcel();
        (later.attempts, later.step, later.cause) = (1, 1, "retry".into());
        let first = headers(&destination(Signing::Stripe), &parcel(), 1_700_000_010_000);
        let second = headers(&destination(Signing::Stripe), &later, 1_700_007_200_000);
        assert_ne!(value(&first, "stripe-signature"), value(&second, "stripe-signature"));
        assert_eq!(value(&first, "idempotency-key"), value(&second, "idempotency-key"));
        assert_eq!(value(&second, "x-relay-attempt").unwrap(), "2");
        assert_eq!(value(&second, "x-relay-trigger").unwrap(), "retry");
        later.destination = "shop".into();
        let elsewhere = headers(&destination(Signing::Stripe), &later, 0);
        assert_ne!(value(&second, "idempotency-key"), value(&elsewhere, "idempotency-key"));
    }

    #[test]
    fn the_last_attempt_promises_no_further_one() {
        let mut last = parcel();
        last.step = 15;
        assert_eq!(value(&headers(&destination(Signing::Stripe), &last, 0), "x-relay-next-retry-at"), None);
        let mut passing = destination(Signing::Stripe);
        passing.passthrough = true;
        assert_eq!(value(&headers(&passing, &parcel(), 0), "x-relay-next-retry-at"), None);
    }

    #[test]
    fn an_app_may_ask_for_the_signature_that_stripe_made() {
        let found = headers(&destination(Signing::Original), &parcel(), 0);
        assert_eq!(value(&found, "stripe-signature").unwrap(), "t=1,v1=00");
    }

    #[test]
    fn what_is_simulated_always_says_so() {
        let mut simulated = parcel();
        (simulated.simulated, simulated.cause) = (true, "retry".into());
        let found = headers(&destination(Signing::Stripe), &simulated, 0);
        assert_eq!(value(&found, "x-relay-trigger").unwrap(), "simulated");
    }
}
