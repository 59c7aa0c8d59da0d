//! What people may tell the wing, and the door at which they do: JSON over HTTP on the socket that the composition
//! mounts it on, which must be one that only they can reach.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Inbox;
use super::rows::{self, Which};
use super::secrets::SecretsError;
use super::simulate::{Simulation, SimulationError};
use crate::{report, store};

/// Events changed in one write, so that receiving never waits long for this.
const AT_ONCE: usize = 500;

/// Which deliveries an order is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    #[serde(flatten)]
    pub which: Which,
    /// Only to this destination; otherwise to all that want the event.
    pub destination: Option<String>,
}

/// What a resend came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    pub events: usize,
    pub deliveries: usize,
}

/// How many deliveries were given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    pub deliveries: usize,
}

/// Whose secret is a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    pub destination: String,
}

/// Why an order is not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    #[error("there is no event `{0}`: `agent stripe events` lists them")]
    NoEvent(String),
    #[error("there is no destination `{0}`; there are: {1}")]
    NoDestination(String, String),
    #[error("the destination `{0}` has a secret of its own in the configuration: change it there")]
    Configured(String),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

pub(super) fn router(inbox: Inbox) -> Router {
    Router::new()
        .route("/stripe/resend", post(resend))
        .route("/stripe/discard", post(discard))
        .route("/stripe/simulate", post(simulate))
        .route("/stripe/rotate", post(rotate))
        .with_state(inbox)
}

async fn resend(State(inbox): State<Inbox>, Json(scope): Json<Scope>) -> Response {
    answer(inbox.resend(scope).await)
}

async fn discard(State(inbox): State<Inbox>, Json(scope): Json<Scope>) -> Response {
    answer(inbox.discard(scope).await)
}

async fn simulate(State(inbox): State<Inbox>, Json(asked): Json<Simulation>) -> Response {
    answer(inbox.simulate(&asked).await.map_err(InboxError::from))
}

async fn rotate(State(inbox): State<Inbox>, Json(asked): Json<Rotated>) -> Response {
    answer(inbox.rotate_own(asked).await)
}

fn answer<T: Serialize>(result: Result<T, InboxError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let message = report::line(&error);
            // As every refusal on this socket reads.
            let said = serde_json::json!({ "service": null, "message": message, "hint": null, "log": "" });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(said)).into_response()
        }
    }
}

impl Inbox {
    /// Makes deliveries due again, now, with a schedule from its beginning: what was delivered is delivered once
    /// more, what was never wanted by a named destination is brought to it.
    pub async fn resend(&self, scope: Scope) -> Result<Again, InboxError> {
        if let Some(name) = &scope.destination {
            self.known(name)?;
        }
        let events = self.meant(&scope).await?;
        let only_dead = scope.which == Which::Dead;
        let cause = if matches!(scope.which, Which::One { .. }) { "resend" } else { "replay" };
        let mut again = Again { events: events.len(), deliveries: 0 };
        for some in events.chunks(AT_ONCE) {
            let (some, to, setup, now) = (some.to_vec(), scope.destination.clone(), self.setup(), self.now());
            let made = self.shared.store.write(move |tx| {
                let make = if only_dead { rows::revive } else { rows::again };
                make(tx, &some, to.as_deref(), cause, &setup, now)
            });
            let (woken, deliveries) = made.await?;
            again.deliveries += deliveries;
            self.shared.bells.ring(&woken);
        }
        Ok(again)
    }

    /// Gives up what is dead, of an event that is named also what is pending: it is not delivered, and forgotten in
    /// its time. The destination need not be configured any more.
    pub async fn discard(&self, scope: Scope) -> Result<Discarded, InboxError> {
        if let Some(name) = scope.destination.clone()
            && !self.shared.store.read(move |sql| rows::remembered(sql, &name)).await?
        {
            self.known(scope.destination.as_deref().unwrap_or_default())?;
        }
        let pending = matches!(scope.which, Which::One { .. });
        let events = self.meant(&scope).await?;
        let mut discarded = Discarded { deliveries: 0 };
        for some in events.chunks(AT_ONCE) {
            let (some, to) = (some.to_vec(), scope.destination.clone());
            let gone = self.shared.store.write(move |tx| rows::discard(tx, &some, to.as_deref(), pending));
            discarded.deliveries += gone.await?;
        }
        Ok(discarded)
    }

    async fn meant(&self, scope: &Scope) -> Result<Vec<i64>, InboxError> {
        let asked = scope.clone();
        let read = move |sql: &_| rows::meant(sql, &asked.which, asked.destination.as_deref());
        let events = self.shared.store.read(read).await?;
        match &scope.which {
            Which::One { id } if events.is_empty() => Err(InboxError::NoEvent(id.clone())),
            _ => Ok(events),
        }
    }

    fn known(&self, name: &str) -> Result<(), InboxError> {
        let setup = self.setup();
        if setup.destinations.iter().any(|known| known.name == name) {
            return Ok(());
        }
        let known: Vec<&str> = setup.destinations.iter().map(|known| &*known.name).collect();
        Err(InboxError::NoDestination(name.to_owned(), known.join(", ")))
    }

    /// A new secret for a destination whose secrets the agent makes.
    async fn rotate_own(&self, asked: Rotated) -> Result<Rotated, InboxError> {
        self.known(&asked.destination)?;
        if !self.rotate(&asked.destination).await? {
            return Err(InboxError::Configured(asked.destination));
        }
        Ok(asked)
    }
}
