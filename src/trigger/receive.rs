//! A forge's webhook over HTTP: verify, write down, answer, wake.
//!
//! The provider follows from the address, never from the headers: forges copy each other's header names and
//! sign different things under them. Whoever is refused hears one generic line; the log says more.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::{DateTime, Utc};

use super::bitbucket::Bitbucket;
use super::envelope::Refusal;
use super::gitea::{FORGEJO, GITEA};
use super::github::GitHub;
use super::gitlab::GitLab;
use super::push::{Delivery, Notice, beside_the_point, shown};
use super::{Reason, Wakes, deliveries};
use crate::http::{RawBody, Secret, line};
use crate::model::forge::Forge;
use crate::report;

/// Forges give up after ten seconds, so there is no point in reading for longer.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Which pushes of one forge wake the loop, and who may say so.
#[derive(Clone, Debug)]
pub struct PushHook {
    forge: Forge,
    secrets: Vec<Secret>,
    repositories: Vec<String>,
    branch: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PushHookError {
    #[error("a push webhook needs at least one secret: without one, anyone could send pushes")]
    NoSecret,
    #[error("a push webhook needs at least one repository to listen to, as `owner/name`")]
    NoRepository,
    #[error("`{0}` is no repository: write `owner/name` as the forge's page shows it, without a host")]
    Repository(String),
    #[error("`{0}` is no branch: write its plain name, such as `main`")]
    Branch(String),
    #[error("secret {place} for {forge} cannot be used: {why}")]
    Secret { forge: Forge, place: usize, why: String },
}

impl PushHook {
    /// Several `secrets` let them be changed without losing a push: the first is the current one, all are
    /// accepted. `repositories` are `owner/name` in any case; `branch` is a plain name.
    pub fn new(
        forge: Forge,
        secrets: Vec<Secret>,
        repositories: Vec<String>,
        branch: impl Into<String>,
    ) -> Result<Self, PushHookError> {
        let branch = branch.into();
        if secrets.is_empty() {
            return Err(PushHookError::NoSecret);
        }
        let mut refused = secrets.iter().map(|secret| verifier(forge).refuses(secret)).zip(1..);
        if let Some((why, place)) = refused.find_map(|(why, place)| Some((why?, place))) {
            return Err(PushHookError::Secret { forge, place, why });
        }
        if repositories.is_empty() {
            return Err(PushHookError::NoRepository);
        }
        if let Some(bad) = repositories.iter().find(|name| !is_full_name(name)) {
            return Err(PushHookError::Repository(bad.clone()));
        }
        if branch.is_empty() || branch.starts_with("refs/") || branch.contains(char::is_whitespace) {
            return Err(PushHookError::Branch(branch));
        }
        Ok(Self { forge, secrets, repositories, branch })
    }
}

/// `owner/name`, or deeper where a forge has groups in groups.
fn is_full_name(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == ':');
    text.contains('/') && text.split('/').all(plain)
}

/// `POST /webhooks/NAME` for the forge of each hook. 202 is answered once the delivery and the wake are on disk;
/// other good answers are 200 with the reason why nothing was to be done.
pub fn router(hooks: Vec<PushHook>, wakes: &Wakes) -> Router {
    hooks.into_iter().fold(Router::new(), |router, hook| {
        let path = format!("/webhooks/{}", hook.forge.name());
        let body = RawBody::new(verifier(hook.forge).body(), BODY_WITHIN);
        let receiver = Arc::new(Receiver { hook, wakes: wakes.clone(), body });
        router.route(&path, post(receive).with_state(receiver))
    })
}

/// What differs from forge to forge.
pub(super) trait Verifier: Sync {
    /// Bytes of the largest body it sends.
    fn body(&self) -> usize;

    /// Why this cannot be a secret of the forge's.
    fn refuses(&self, _: &Secret) -> Option<String> {
        None
    }

    /// Checks who sent this, then reads it, in this order.
    fn open(
        &self,
        headers: &HeaderMap,
        raw: &[u8],
        secrets: &[Secret],
        now: DateTime<Utc>,
    ) -> Result<Delivery, Refusal>;
}

fn verifier(forge: Forge) -> &'static dyn Verifier {
    match forge {
        Forge::GitHub => &GitHub,
        Forge::GitLab => &GitLab,
        Forge::Gitea => &GITEA,
        Forge::Forgejo => &FORGEJO,
        Forge::Bitbucket => &Bitbucket,
    }
}

struct Receiver {
    hook: PushHook,
    wakes: Wakes,
    body: RawBody,
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let forge = receiver.hook.forge.name();
    let (parts, raw) = match receiver.body.read(request).await {
        Ok(read) => read,
        Err(refusal) => {
            tracing::warn!(forge, %refusal, "webhook not read");
            return refusal.into_response();
        }
    };
    // Hashing and reading 25 MiB takes long enough to be noticed by everyone on this thread.
    let shared = Arc::clone(&receiver);
    let opened = tokio::task::spawn_blocking(move || {
        let hook = &shared.hook;
        verifier(hook.forge).open(&parts.headers, &raw, &hook.secrets, Utc::now())
    });
    match opened.await {
        Ok(Ok(delivery)) => receiver.answer(forge, delivery).await,
        Ok(Err(refusal)) => {
            tracing::warn!(forge, ?refusal, "webhook refused");
            refusal.into_response()
        }
        // The runtime is shutting down: nothing was taken.
        Err(_) => line(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"),
    }
}

impl Receiver {
    async fn answer(&self, forge: &'static str, delivery: Delivery) -> Response {
        let ignored = match delivery.notice {
            Notice::Ping => return line(StatusCode::OK, "pong"),
            Notice::Other(event) => Some(format!("event {} moves no branch", shown(&event))),
            Notice::Push(pushes) => beside_the_point(&pushes, &self.hook.repositories, &self.hook.branch),
        };
        if let Some(reason) = ignored {
            tracing::debug!(forge, delivery = delivery.id, reason, "webhook ignored");
            return line(StatusCode::OK, format!("ignored: {reason}"));
        }
        let (now, id) = (Utc::now(), delivery.id.clone());
        let reason = Reason::Webhook { delivery: delivery.id.clone() };
        match self.wakes.wake_if(reason, move |tx| deliveries::remember(tx, forge, &id, now)).await {
            Ok(true) => {
                tracing::info!(forge, delivery = delivery.id, "woken by a push");
                line(StatusCode::ACCEPTED, format!("accepted: looking at {}", shown(&self.hook.branch)))
            }
            Ok(false) => line(StatusCode::OK, format!("already seen: {}", shown(&delivery.id))),
            Err(error) => {
                tracing::error!(
                    error = report::line(&error),
                    delivery = delivery.id,
                    "a push could not be written down"
                );
                let text = "could not be written down; the agent's own timer will find the push";
                line(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(secrets: usize, repositories: &[&str], branch: &str) -> Option<PushHookError> {
        let secrets = vec![Secret::new("s").unwrap(); secrets];
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        PushHook::new(Forge::GitHub, secrets, repositories, branch).err()
    }

    #[test]
    fn a_hook_that_could_not_work_is_refused() {
        assert_eq!(hook(2, &["acme/shop", "group/sub/name"], "feature/x"), None);
        assert_eq!(hook(0, &["acme/shop"], "main"), Some(PushHookError::NoSecret));
        assert_eq!(hook(1, &[], "main"), Some(PushHookError::NoRepository));
        for bad in ["shop", "https://forge.example/acme/shop", "/shop", "acme/", "git@host:acme/shop"] {
            assert_eq!(hook(1, &[bad], "main"), Some(PushHookError::Repository(bad.into())));
        }
        for bad in ["", "refs/heads/main", "two words"] {
            assert_eq!(hook(1, &["acme/shop"], bad), Some(PushHookError::Branch(bad.into())));
        }
    }
}
