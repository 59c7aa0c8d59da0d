//! Destinations' own secrets: made here when there is none, handed to whoever gives them to the service.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use tokio::sync::watch;

use super::{Inbox, rows};
use crate::http::Secret;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("the machine gives no random numbers")]
    Random(#[source] io::Error),
    #[error("a secret cannot be kept")]
    Store(#[from] store::Error),
}

impl Inbox {
    /// What `destination` is to verify with: the current secret first, then one that was retired within a day. The
    /// first call makes one; the same answer comes back until [`Self::rotate`].
    pub async fn secrets(&self, destination: &str) -> Result<Vec<Secret>, SecretsError> {
        let (name, now) = (destination.to_owned(), self.now());
        let known = self.shared.store.read(move |sql| rows::secrets(sql, &name, now)).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let (destination, fresh) = (destination.to_owned(), fresh()?);
        Ok(self.shared.store.write(move |tx| rows::first(tx, &destination, &fresh, now)).await?)
    }

    /// Makes a new current secret in place of one that [`Self::secrets`] gave out, and says so on
    /// [`Self::rotations`]; false if it never gave one. Deliveries are to be signed with both for a day.
    pub async fn rotate(&self, destination: &str) -> Result<bool, SecretsError> {
        let (destination, fresh, now) = (destination.to_owned(), fresh()?, self.now());
        let rotated = self.shared.store.write(move |tx| rows::rotate(tx, &destination, &fresh, now)).await?;
        if rotated {
            self.shared.rotations.send_modify(|count| *count += 1);
        }
        Ok(rotated)
    }

    /// Changes whenever a secret is rotated: the services are then to be given theirs anew.
    pub fn rotations(&self) -> watch::Receiver<u64> {
        self.shared.rotations.subscribe()
    }
}

/// `whsec_` and 32 random bytes in base64: what both Stripe's libraries and Standard Webhooks take.
fn fresh() -> Result<Secret, SecretsError> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(SecretsError::Random)?;
    let secret = Secret::new(format!("whsec_{}", STANDARD.encode(bytes)));
    secret.map_err(|error| SecretsError::Random(io::Error::other(error)))
}
