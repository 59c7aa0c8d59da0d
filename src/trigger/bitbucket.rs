//! Bitbucket's webhooks, as documented in "Event payloads": Cloud and Data Center, which sign alike and say the
//! same in different words. One webhook may tell of several references.
//!
//! `X-Hub-Signature: sha256=HEX` is the HMAC-SHA256 of the raw body. (GitHub has a header of this name for its SHA-1.)

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::envelope::{Refusal, name, parse, payload, verify_hex};
use super::push::{Delivery, Notice, Push};
use super::receive::Verifier;
use crate::http::Secret;

pub(super) struct Bitbucket;

impl Verifier for Bitbucket {
    /// Cloud sends nothing above 256 KB; Data Center has no limit of its own and lists no commits.
    fn body(&self) -> usize {
        4 * 1024 * 1024
    }

    fn open(
        &self,
        headers: &HeaderMap,
        raw: &[u8],
        secrets: &[Secret],
        _: DateTime<Utc>,
    ) -> Result<Delivery, Refusal> {
        verify_hex(headers, "x-hub-signature", "sha256=", raw, secrets)?;
        let event = name(headers, "x-event-key")?;
        let cloud = headers.contains_key("x-request-uuid");
        let id = name(headers, if cloud { "x-request-uuid" } else { "x-request-id" })?;
        let json = payload(headers, raw)?;
        let notice = match event.as_str() {
            "diagnostics:ping" => Notice::Ping,
            "repo:push" => Notice::Push(parse::<CloudPush>(&json)?.pushes()),
            "repo:refs_changed" => Notice::Push(parse::<ServerPush>(&json)?.pushes()),
            _ => Notice::Other(event),
        };
        Ok(Delivery { id, notice })
    }
}

#[derive(Deserialize)]
struct CloudPush {
    push: Changes,
    repository: CloudRepository,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<Change>,
}

/// `new` is null where the reference was deleted, `old` where it was made.
#[derive(Deserialize)]
struct Change {
    new: Option<CloudRef>,
    old: Option<CloudRef>,
}

#[derive(Deserialize)]
struct CloudRef {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct CloudRepository {
    full_name: String,
}

impl CloudPush {
    fn pushes(self) -> Vec<Push> {
        let push = |change: Change| {
            let deleted = change.new.is_none();
            let CloudRef { kind, name } = change.new.or(change.old)?;
            let folder = if kind == "tag" { "tags" } else { "heads" };
            let reference = format!("refs/{folder}/{name}");
            Some(Push { repository: self.repository.full_name.clone(), reference, deleted })
        };
        self.push.changes.into_iter().filter_map(push).collect()
    }
}

#[derive(Deserialize)]
struct ServerPush {
    changes: Vec<ServerChange>,
    repository: ServerRepository,
}

#[derive(Deserialize)]
struct ServerChange {
    #[serde(rename = "refId")]
    reference: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ServerRepository {
    slug: String,
    project: Project,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

impl ServerPush {
    fn pushes(self) -> Vec<Push> {
        let repository = format!("{}/{}", self.repository.project.key, self.repository.slug);
        let push = |change: ServerChange| Push {
            repository: repository.clone(),
            reference: change.reference,
            deleted: change.kind == "DELETE",
        };
        self.changes.into_iter().map(push).collect()
    }
}
