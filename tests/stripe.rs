//! The Stripe wing from outside: a real server and a real store, apps on real sockets, and at both ends Stripe's own
//! libraries (`tests/stripe/setup` fetches them).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "stripe/app.rs"]
mod app;
#[path = "stripe/delivering.rs"]
mod delivering;
#[path = "stripe/kill.rs"]
mod kill;
#[path = "stripe/libraries.rs"]
mod libraries;
#[path = "stripe/library.rs"]
mod library;
#[path = "stripe/orders.rs"]
mod orders;
#[path = "stripe/receiving.rs"]
mod receiving;
#[path = "stripe/site.rs"]
mod site;
#[path = "stripe/speed.rs"]
mod speed;
#[path = "stripe/waiting.rs"]
mod waiting;
