//! The webhooks of Gitea and its fork Forgejo, as their own delivery code writes them.
//!
//! The signature is the bare hexadecimal HMAC-SHA256 of the JSON, also where that is sent as a form (GitHub signs the
//! form). A hook without a secret sends the header with nothing in it. Both also send GitHub's headers, which are
//! not looked at.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::envelope::{Refusal, is_none, name, parse, payload, proof, verify_hex};
use super::push::{Delivery, Notice, Push};
use super::receive::Verifier;
use crate::http::Secret;

/// The headers of one of the two.
pub(super) struct Gitea {
    signature: &'static str,
    delivery: &'static str,
    event: &'static str,
}

pub(super) const GITEA: Gitea =
    Gitea { signature: "x-gitea-signature", delivery: "x-gitea-delivery", event: "x-gitea-event" };
pub(super) const FORGEJO: Gitea =
    Gitea { signature: "x-forgejo-signature", delivery: "x-forgejo-delivery", event: "x-forgejo-event" };

impl Verifier for Gitea {
    fn body(&self) -> usize {
        25 * 1024 * 1024
    }

    fn open(
        &self,
        headers: &HeaderMap,
        raw: &[u8],
        secrets: &[Secret],
        _: DateTime<Utc>,
    ) -> Result<Delivery, Refusal> {
        if proof(headers, self.signature)?.is_none_or(str::is_empty) {
            return Err(Refusal::Unsigned);
        }
        let json = payload(headers, raw)?;
        verify_hex(headers, self.signature, "", &json, secrets)?;
        let id = name(headers, self.delivery)?;
        let notice = match name(headers, self.event)?.as_str() {
            "push" => Notice::Push(vec![parse::<PushPayload>(&json)?.into()]),
            other => Notice::Other(other.to_owned()),
        };
        Ok(Delivery { id, notice })
    }
}

/// What is read of a push. A test sends one too, of the newest commit.
#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

impl From<PushPayload> for Push {
    fn from(payload: PushPayload) -> Self {
        let deleted = is_none(&payload.after);
        Self { repository: payload.repository.full_name, reference: payload.reference, deleted }
    }
}
