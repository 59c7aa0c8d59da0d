//! The daemon's own door: HTTP on a Unix socket in the state folder, which only its owner can reach.
//!
//! Orders go in, the situation and previews come out. Everything that can be read from the record is read from
//! there by whoever wants it, so that reading works with the daemon down.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::engine::Engine;
use crate::http::line;
use crate::model::run::Failure;
use crate::orders::{self, Order};
use crate::reconcile::{Reconciler, Trouble};
use crate::report;

/// What `GET /status` answers.
pub use crate::overview::Status;

/// The socket's name in the state folder.
pub const SOCKET: &str = "agent.sock";

/// An order's answer: what will happen, and how many turns had ended before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accepted {
    pub said: String,
    pub turns: u64,
}

/// What whoever is there before there is an engine waits at, until there is somebody to obey.
pub(super) fn door(orders: watch::Receiver<Option<Router>>) -> Router {
    let pass_on = async |State(mut orders): State<watch::Receiver<Option<Router>>>, request: Request| {
        let obeyed = orders.wait_for(Option::is_some).await.ok().and_then(|obeyed| obeyed.clone());
        match obeyed {
            Some(router) => router.oneshot(request).await.into_response(),
            None => line(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending"),
        }
    };
    Router::new().fallback(pass_on).with_state(orders)
}

pub fn router<E: Engine>(world: Arc<Reconciler<E>>) -> Router {
    Router::new()
        .route("/status", get(status::<E>))
        .route("/orders", post(order::<E>))
        .route("/plan", get(plan::<E>))
        .route("/config", get(config::<E>))
        .with_state(world)
}

/// The daemon's status, as seen from inside it.
pub fn status_of<E: Engine>(world: &Reconciler<E>) -> Status {
    // Before the situation: a wake that is no longer pending has begun its turn there.
    let pending = world.wakes.pending().is_some();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        situation: world.situation.borrow().clone(),
        pending,
    }
}

async fn status<E: Engine>(State(world): State<Arc<Reconciler<E>>>) -> Json<Status> {
    Json(status_of(&world))
}

async fn order<E: Engine>(State(world): State<Arc<Reconciler<E>>>, Json(order): Json<Order>) -> Response {
    match obey(&world, &order).await {
        Ok(accepted) => Json(accepted).into_response(),
        Err(error) => refused(Failure { message: report::line(&error), ..Failure::default() }),
    }
}

/// Obeys an order from this process.
pub async fn obey<E: Engine>(world: &Reconciler<E>, order: &Order) -> Result<Accepted, orders::OrderError> {
    let (turns, tip) = {
        let situation = world.situation.borrow();
        (situation.turns, situation.tip.as_deref().and_then(|tip| tip.parse().ok()))
    };
    let now = Utc::now().timestamp_millis();
    let said = orders::obey(order, &world.record, &world.wakes, tip, now).await?;
    Ok(Accepted { said, turns })
}

async fn plan<E: Engine>(State(world): State<Arc<Reconciler<E>>>) -> Response {
    answer(world.preview().await)
}

async fn config<E: Engine>(State(world): State<Arc<Reconciler<E>>>) -> Response {
    answer(world.rendered_config().await)
}

fn answer<T: Serialize>(result: Result<T, Trouble>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(Trouble::Failure { failure, .. }) => refused(failure),
        Err(Trouble::Newer) => StatusCode::CONFLICT.into_response(),
    }
}

fn refused(failure: Failure) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(failure)).into_response()
}
