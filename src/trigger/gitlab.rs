//! GitLab's webhooks, as documented in "Webhooks" and "Webhook events".
//!
//! Two ways of showing who sends. Signed (a signing token, `whsec_…`): Standard Webhooks. Older: `X-Gitlab-Token` is
//! the secret itself and nothing is signed, so that whoever has seen one webhook can send any. Where a signature is
//! there it decides, and the token is not looked at.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::envelope::{Refusal, is_none, name, parse, payload, proof, signed_by};
use super::push::{Delivery, Notice, Push};
use super::receive::Verifier;
use crate::http::standard::{self, Fault, Key};
use crate::http::{Secret, mac};

pub(super) struct GitLab;

impl Verifier for GitLab {
    fn body(&self) -> usize {
        25 * 1024 * 1024
    }

    fn refuses(&self, secret: &Secret) -> Option<String> {
        // What looks like a signing token and is none would be taken for a plain one, and never fit.
        let meant = secret.expose().starts_with(standard::PREFIX);
        Key::parse(secret).err().filter(|_| meant).map(|error| error.to_string())
    }

    fn open(
        &self,
        headers: &HeaderMap,
        raw: &[u8],
        secrets: &[Secret],
        now: DateTime<Utc>,
    ) -> Result<Delivery, Refusal> {
        let signed = headers.contains_key(standard::SIGNATURE);
        match signed {
            true => verify(headers, raw, secrets, now)?,
            false => verify_token(headers, secrets)?,
        }
        let id = name(headers, id_header(headers, signed))?;
        let event = name(headers, "x-gitlab-event")?;
        let json = payload(headers, raw)?;
        let kind = parse::<Event>(&json)?.object_kind;
        let notice = match (kind.as_deref(), &*event) {
            (Some("push" | "tag_push"), _) | (None, "Push Hook" | "Tag Push Hook") => {
                Notice::Push(vec![parse::<PushPayload>(&json)?.into()])
            }
            _ => Notice::Other(event),
        };
        Ok(Delivery { id, notice })
    }
}

fn verify(headers: &HeaderMap, raw: &[u8], secrets: &[Secret], now: DateTime<Utc>) -> Result<(), Refusal> {
    let keys: Vec<Key> = secrets.iter().filter_map(|secret| Key::parse(secret).ok()).collect();
    let header = |header| proof(headers, header)?.ok_or(Refusal::Forged("malformed signature"));
    let (id, at) = (header(standard::ID)?, header(standard::TIMESTAMP)?);
    let signer = standard::signer(&keys, id, at, header(standard::SIGNATURE)?, raw, now.timestamp());
    signed_by(signer.map_err(|fault| match fault {
        Fault::Malformed => Refusal::Forged("malformed signature"),
        Fault::Wrong => Refusal::Forged("wrong signature"),
        Fault::Stale => Refusal::Stale,
    })?);
    Ok(())
}

/// A signing token is never accepted as a plain one: it would travel in the clear.
fn verify_token(headers: &HeaderMap, secrets: &[Secret]) -> Result<(), Refusal> {
    let token = proof(headers, "x-gitlab-token")?.ok_or(Refusal::Unsigned)?;
    // Comparing MACs of the two takes the same time however much of them agrees, and however long they are.
    let plain = secrets.iter().filter(|secret| !secret.expose().starts_with(standard::PREFIX));
    let found = plain.enumerate().fold(None, |found, (place, secret)| {
        let right = mac::sign(secret, &[secret.expose().as_bytes()]);
        found.or(mac::matches(secret.expose().as_bytes(), &[token.as_bytes()], &right).then_some(place))
    });
    signed_by(found.ok_or(Refusal::Forged("wrong token"))?);
    Ok(())
}

/// The header that is the same when a webhook is sent again. The last is of versions before 17.4.
fn id_header(headers: &HeaderMap, signed: bool) -> &'static str {
    match signed {
        true => standard::ID,
        false if headers.contains_key("idempotency-key") => "idempotency-key",
        false => "x-gitlab-event-uuid",
    }
}

#[derive(Deserialize)]
struct Event {
    object_kind: Option<String>,
}

/// What is read of a push. The project's path has groups within groups.
#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    project: Project,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
}

impl From<PushPayload> for Push {
    fn from(payload: PushPayload) -> Self {
        let deleted = is_none(&payload.after);
        Self { repository: payload.project.path_with_namespace, reference: payload.reference, deleted }
    }
}
