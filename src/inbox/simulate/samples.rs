//! The objects that simulated events are about: what a small shop sells, pays and subscribes to. Pure.
//!
//! The texts beside this file are objects as Stripe's API shows them, cut down to what handlers look at. A text that
//! ends in `_…` is completed to an id, the same one for all of an event; `@now` and `@now+SECONDS` become moments,
//! `@live` the mode.

use serde_json::{Value, json};

use super::fields;

const SESSION: &str = include_str!("objects/checkout_session.json");
const INTENT: &str = include_str!("objects/payment_intent.json");
const CHARGE: &str = include_str!("objects/charge.json");
const REFUND: &str = include_str!("objects/refund.json");
const DISPUTE: &str = include_str!("objects/dispute.json");
const CUSTOMER: &str = include_str!("objects/customer.json");
const SUBSCRIPTION: &str = include_str!("objects/subscription.json");
const INVOICE: &str = include_str!("objects/invoice.json");
const PRODUCT: &str = include_str!("objects/product.json");
const PRICE: &str = include_str!("objects/price.json");
const PAYOUT: &str = include_str!("objects/payout.json");

/// An event type, its object, and what differs in it.
type Sample = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const SAMPLES: &[Sample] = &[
    ("checkout.session.completed", SESSION, &[]),
    ("checkout.session.async_payment_succeeded", SESSION, &[]),
    ("checkout.session.async_payment_failed", SESSION, &[("payment_status", "\"unpaid\"")]),
    ("checkout.session.expired", SESSION, &[("status", "\"expired\""), ("payment_status", "\"unpaid\"")]),
    (
        "payment_intent.created",
        INTENT,
        &[("status", "\"requires_payment_method\""), ("amount_received", "0"), ("latest_charge", "null")],
    ),
    ("payment_intent.processing", INTENT, &[("status", "\"processing\""), ("amount_received", "0")]),
    ("payment_intent.succeeded", INTENT, &[]),
    (
        "payment_intent.payment_failed",
        INTENT,
        &[
            ("status", "\"requires_payment_method\""),
            ("amount_received", "0"),
            ("last_payment_error", r#"{ "code": "card_declined", "type": "card_error" }"#),
        ],
    ),
    ("payment_intent.canceled", INTENT, &[("status", "\"canceled\""), ("amount_received", "0")]),
    ("charge.succeeded", CHARGE, &[]),
    (
        "charge.failed",
        CHARGE,
        &[
            ("status", "\"failed\""),
            ("paid", "false"),
            ("captured", "false"),
            ("failure_code", "\"card_declined\""),
        ],
    ),
    ("charge.updated", CHARGE, &[]),
    ("charge.refunded", CHARGE, &[("refunded", "true"), ("amount_refunded", "2000")]),
    ("charge.dispute.created", DISPUTE, &[]),
    ("charge.dispute.closed", DISPUTE, &[("status", "\"won\"")]),
    ("refund.created", REFUND, &[]),
    ("refund.updated", REFUND, &[]),
    ("customer.created", CUSTOMER, &[]),
    ("customer.updated", CUSTOMER, &[]),
    ("customer.deleted", CUSTOMER, &[]),
    ("customer.subscription.created", SUBSCRIPTION, &[]),
    ("customer.subscription.updated", SUBSCRIPTION, &[]),
    ("customer.subscription.paused", SUBSCRIPTION, &[("status", "\"paused\"")]),
    ("customer.subscription.resumed", SUBSCRIPTION, &[]),
    ("customer.subscription.trial_will_end", SUBSCRIPTION, &[("status", "\"trialing\"")]),
    (
        "customer.subscription.deleted",
        SUBSCRIPTION,
        &[("status", "\"canceled\""), ("canceled_at", "\"@now\""), ("ended_at", "\"@now\"")],
    ),
    (
        "invoice.created",
        INVOICE,
        &[("status", "\"draft\""), ("amount_paid", "0"), ("amount_remaining", "2000")],
    ),
    (
        "invoice.finalized",
        INVOICE,
        &[("status", "\"open\""), ("amount_paid", "0"), ("amount_remaining", "2000")],
    ),
    ("invoice.paid", INVOICE, &[]),
    ("invoice.payment_succeeded", INVOICE, &[]),
    (
        "invoice.payment_failed",
        INVOICE,
        &[("status", "\"open\""), ("amount_paid", "0"), ("amount_remaining", "2000"), ("attempt_count", "1")],
    ),
    ("product.created", PRODUCT, &[]),
    ("product.updated", PRODUCT, &[]),
    ("price.created", PRICE, &[]),
    ("price.updated", PRICE, &[]),
    ("payout.created", PAYOUT, &[("status", "\"pending\"")]),
    ("payout.paid", PAYOUT, &[]),
    ("payout.failed", PAYOUT, &[("status", "\"failed\""), ("failure_code", "\"account_closed\"")]),
];

/// The event types that can be made up.
pub fn kinds() -> Vec<&'static str> {
    SAMPLES.iter().map(|(kind, ..)| *kind).collect()
}

/// The object of an event of this type, at `now` (Unix seconds).
pub(super) fn object(kind: &str, random: &str, now: i64, live: bool) -> Option<Value> {
    let (_, text, differences) = SAMPLES.iter().find(|(known, ..)| *known == kind)?;
    let mut object = serde_json::from_str(text).ok()?;
    for (path, text) in *differences {
        fields::set(&mut object, path, serde_json::from_str(text).ok()?).ok()?;
    }
    complete(&mut object, random, now, live);
    Some(object)
}

fn complete(value: &mut Value, random: &str, now: i64, live: bool) {
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(|entry| complete(entry, random, now, live)),
        Value::Object(fields) => fields.values_mut().for_each(|field| complete(field, random, now, live)),
        Value::String(text) if text == "@live" => *value = json!(live),
        Value::String(text) => {
            if let Some(later) = text.strip_prefix("@now") {
                *value = json!(now + later.parse::<i64>().unwrap_or(0));
            } else if text.contains('…') {
                *text = text.replace('…', &format!("sim_{random}"));
            }
        }
        _ => {}
    }
}
