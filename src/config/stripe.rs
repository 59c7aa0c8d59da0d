//! Stripe's events: where they come in, with which secrets, and how much of them is kept. Which services they go to
//! is said by labels in the repository.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::SecretFile;
use super::text::{Size, duration, or_empty};

/// The endpoint that is there without being named, at `/webhooks/stripe` itself.
const DEFAULT: &str = "default";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stripe {
    /// What every destination has taken is forgotten after this.
    #[serde(with = "duration")]
    pub keep: Duration,
    pub max_size: Size,
    #[serde(with = "duration")]
    pub tolerance: Duration,
    /// By name. Those without secrets take nothing.
    pub endpoints: BTreeMap<String, StripeEndpoint>,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(30 * 24 * 60 * 60),
            max_size: Size(4 << 30),
            tolerance: Duration::from_secs(300),
            endpoints: BTreeMap::from([(DEFAULT.to_owned(), StripeEndpoint::default())]),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripeEndpoint {
    pub secret_files: Vec<SecretFile>,
    /// None: events of both modes.
    #[serde(with = "or_empty")]
    pub mode: Option<StripeMode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StripeMode {
    Test,
    Live,
}

impl Stripe {
    /// The endpoints that take events.
    pub fn open(&self) -> impl Iterator<Item = (&String, &StripeEndpoint)> {
        self.endpoints.iter().filter(|(_, endpoint)| !endpoint.secret_files.is_empty())
    }
}

/// Whether a name can stand in an address.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    !name.is_empty() && name.len() <= 40 && name.bytes().all(plain)
}
