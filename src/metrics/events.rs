//! Stripe's events: what is left to do, by destination, and what came of requests and attempts.

use super::{Text, seconds};
use crate::inbox::Numbers;

pub(super) fn write(numbers: &Numbers, out: &mut Text) {
    let by = |name| [("destination", name)];
    let pending = out.gauge("agent_stripe_pending", "Deliveries that are still to be made.");
    for left in &numbers.backlog {
        pending.set(&by(&*left.destination), f64::from(left.pending));
    }
    let dead = out.gauge("agent_stripe_dead", "Deliveries that ran out of attempts and wait for a person.");
    for left in &numbers.backlog {
        dead.set(&by(&*left.destination), f64::from(left.dead));
    }
    let oldest = out.gauge(
        "agent_stripe_oldest_pending_timestamp_seconds",
        "When the oldest event that is still to be delivered was received.",
    );
    for left in &numbers.backlog {
        left.oldest.into_iter().for_each(|at| oldest.set(&by(&*left.destination), seconds(at)));
    }
    let received =
        out.counter("agent_stripe_received_total", "Requests by what became of them: kept, or why not.");
    for (outcome, count) in &numbers.received {
        received.set(&[("outcome", outcome)], *count as f64);
    }
    let attempts = out.counter("agent_stripe_attempts_total", "Attempts to deliver, by what came of them.");
    for (destination, outcomes) in &numbers.attempts {
        for (outcome, count) in outcomes {
            attempts.set(&[("destination", destination), ("outcome", outcome)], *count as f64);
        }
    }
}
