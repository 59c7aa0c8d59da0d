//! Where Stripe's events go: what a service asked for by its labels, and whether it can be asked now.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A service that events are brought to. Stored in releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub service: String,
    /// Only what came to this endpoint; `None` is every one.
    pub endpoint: Option<String>,
    /// Types of events, or their beginnings: `checkout.session.*`.
    pub events: Vec<String>,
    pub path: String,
    /// In the service's containers.
    pub port: u16,
    /// Requests at once.
    pub concurrency: u16,
    pub timeout: Duration,
    pub ordered: bool,
    pub passthrough: bool,
    /// The environment variable in which the service finds the secret to verify with.
    pub secret_env: String,
    /// The service's fingerprint as it would be without that secret, which is this machine's and not the release's.
    pub fingerprint: String,
}

/// Whether a service can be asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Where its instances answer that have passed their gates and were not told to go. Never empty.
    At(Vec<Ipv4Addr>),
    /// Why it cannot.
    Away(String),
}
