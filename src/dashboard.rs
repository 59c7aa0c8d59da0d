//! One page for a phone at three in the morning: what runs, what happened and why, and the few things that a person
//! then wants to do about it.
//!
//! Written by the server from the record and a look at the engine, complete without any script; a small script
//! fetches the same page again when something has changed. Everything it loads is in this program. Nobody sees a
//! word of it, or does anything, without a session. It decides nothing: an order given here is the order that the
//! command line gives.

mod act;
mod assets;
mod guard;
mod home;
mod live;
mod pages;
mod run;
mod session;
mod sign_in;
mod steps;
mod stripe;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{SecretError, SecretFile};
use crate::http::{Rate, RawBody};
use crate::inbox::Inbox;
use crate::model::instance::Observed;
use crate::model::run::RunId;
use crate::orders::{Order, OrderError};
use crate::overview::Status;
use crate::reconcile::Situation;
use crate::record::Record;

use pages::Pages;
use session::Sessions;

/// What the page asks of the agent that runs.
pub trait Agent: Send + Sync + 'static {
    fn record(&self) -> &Record;

    fn status(&self) -> Status;

    /// Changes with what the agent is doing.
    fn situation(&self) -> watch::Receiver<Situation>;

    /// What the engine shows, or why it does not.
    fn observe(&self) -> impl Future<Output = Result<Observed, String>> + Send;

    /// Obeys an order and says in a line what will happen.
    fn obey(&self, order: Order) -> impl Future<Output = Result<String, OrderError>> + Send;

    /// Stripe's events, where any are received.
    fn inbox(&self) -> Option<&Inbox>;

    /// Where the logs of a run's builds are.
    fn logs_of(&self, run: RunId) -> PathBuf;
}

/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;
/// Pages that are kept up to date at the same time.
const WATCHERS: usize = 32;
/// The largest form has two fields of a few dozen characters.
const LARGEST_FORM: usize = 4096;
const FORM_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    #[error("the dashboard's token cannot be read")]
    Token(#[from] SecretError),
    #[error(
        "the dashboard's token has fewer than {SHORTEST_TOKEN} characters: `openssl rand -hex 24` makes a better one"
    )]
    ShortToken,
    #[error("the dashboard's pages are damaged")]
    Pages(#[from] minijinja::Error),
}

/// What every page is made from.
struct Site<A> {
    agent: Arc<A>,
    stack: String,
    token: SecretFile,
    sessions: Sessions,
    pages: Pages,
    forms: RawBody,
    watchers: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The pages. Pages that keep themselves up to date end with `stop`. It must be served by [`crate::http::serve`],
/// which says who asks.
///
/// # Errors
/// When the token cannot be read now, or is too short to be one. It is read again at each use.
pub fn router<A: Agent>(
    agent: Arc<A>,
    stack: &str,
    token: SecretFile,
    stop: CancellationToken,
) -> Result<Router, DashboardError> {
    acceptable(&token)?;
    let site = Arc::new(Site {
        agent,
        stack: stack.to_owned(),
        token,
        sessions: Sessions::default(),
        pages: Pages::new(stack)?,
        forms: RawBody::new(LARGEST_FORM, FORM_WITHIN),
        watchers: Arc::new(Semaphore::new(WATCHERS)),
        stop,
    });
    // One try in ten seconds, after the first few: a token that is guessed at so fast lasts for ever.
    let tries = Rate { per_second: 0.1, burst: 5, ..Rate::default() };
    let signing_in = Router::new().route("/sign-in", post(sign_in::open::<A>)).with_state(site.clone());
    let router = Router::new()
        .route("/", get(home::page::<A>))
        .route("/changes", get(live::events::<A>))
        .route("/runs/{id}", get(run::page::<A>))
        .route("/releases/{id}/rollback", get(act::ask_rollback::<A>).post(act::roll_back::<A>))
        .route("/resume", get(act::ask_resume::<A>).post(act::resume::<A>))
        .route("/retry", get(act::ask_retry::<A>).post(act::retry::<A>))
        .route("/stripe/{id}", get(stripe::page::<A>))
        .route("/stripe/{id}/resend", get(stripe::ask_resend::<A>).post(stripe::resend::<A>))
        .route("/dead-letters", get(stripe::ask_resend_dead::<A>).post(stripe::resend_dead::<A>))
        .route("/sign-in", get(sign_in::ask::<A>))
        .route("/sign-out", post(sign_in::close::<A>))
        .route("/{asset}", get(assets::asset))
        .fallback(nothing_here)
        .with_state(site.clone())
        .merge(tries.limit(signing_in));
    let router = Rate::default().limit_strangers(router, move |headers| site.knows(headers));
    Ok(router.layer(middleware::from_fn(guard::headers)))
}

/// Whether this may be the token.
pub fn acceptable(token: &SecretFile) -> Result<(), DashboardError> {
    if token.read()?.chars().count() < SHORTEST_TOKEN { Err(DashboardError::ShortToken) } else { Ok(()) }
}

async fn nothing_here() -> Response {
    crate::http::line(StatusCode::NOT_FOUND, "there is no such page")
}

#[cfg(test)]
mod tests;
