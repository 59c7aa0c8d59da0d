//! Where numbers are asked for: a listener of its own, because what it tells is for whoever watches and not for the
//! world.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::kept::Kept;
use super::{AppError, control};
use crate::engine::Engine;
use crate::http::line;
use crate::inbox::Inbox;
use crate::metrics::{self, Answers, Ended, Facts, Tally};
use crate::model::run::{Kind, Outcome};
use crate::overview::{self, Report};
use crate::reconcile::Reconciler;
use crate::record::RecordError;
use crate::report;

/// How many runs can end between two questions.
const RECENT: usize = 200;

struct Source<E> {
    world: Arc<Reconciler<E>>,
    answers: Answers,
    inbox: Option<Inbox>,
    tally: Mutex<Tally>,
}

/// `/metrics`, `/healthz` and `/readyz`, if they are configured, on their port.
pub(super) async fn listen<E: Engine>(
    world: &Arc<Reconciler<E>>,
    answers: Answers,
    inbox: Option<Inbox>,
    kept: &mut Kept,
) -> Result<Option<(TcpListener, Router)>, AppError> {
    let Some(at) = world.config.metrics.listen else { return Ok(None) };
    let source = Source { world: world.clone(), answers, inbox, tally: Mutex::default() };
    // From here on runs are counted.
    source.tally.lock().await.uncounted(world.record.runs(RECENT).await.unwrap_or_default());
    let router = Router::new()
        .route("/metrics", get(metrics::<E>))
        .route("/healthz", get(async || line(StatusCode::OK, "alive")))
        .route("/readyz", get(ready::<E>))
        .with_state(Arc::new(source));
    let listener = kept.tcp("metrics", at).await;
    let listener = listener.map_err(|source| AppError::Listen { at: at.to_string(), source })?;
    tracing::info!("metrics on http://{at}/metrics");
    Ok(Some((listener, router)))
}

impl<E: Engine> Source<E> {
    async fn report(&self) -> Result<Report, RecordError> {
        let world = &self.world;
        let stack = &world.config.stack.name;
        let observed = world.engine.observe(stack).await.map_err(|error| report::line(&error));
        let status = control::status_of(&**world);
        let now = chrono::Utc::now().timestamp_millis();
        overview::gather(stack, Some(&world.record), Some(Ok(status)), observed, now).await
    }

    async fn text(&self) -> Result<String, RecordError> {
        let record = &self.world.record;
        let runs = record.runs(RECENT).await?;
        let made = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Succeeded));
        let last = runs.iter().find(|run| made(&run.outcome) && run.kind != Kind::Heal);
        let succeeded_at = last.and_then(|run| run.ended_at);
        let mut tally = self.tally.lock().await;
        for run in tally.uncounted(runs) {
            let log = record.log(run.id, 0).await?;
            tally.count(Ended { run, log });
        }
        let (version, turns) = (env!("CARGO_PKG_VERSION"), self.world.situation.borrow().turns);
        let report = &self.report().await?;
        let events = match &self.inbox {
            Some(inbox) => Some(inbox.numbers().await?),
            None => None,
        };
        Ok(metrics::text(&Facts {
            version,
            report,
            turns,
            succeeded_at,
            tally: &tally,
            answers: &self.answers,
            events: events.as_ref(),
        }))
    }
}

async fn metrics<E: Engine>(State(source): State<Arc<Source<E>>>) -> Response {
    match source.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => line(StatusCode::SERVICE_UNAVAILABLE, report::line(&error)),
    }
}

async fn ready<E: Engine>(State(source): State<Arc<Source<E>>>) -> Response {
    let turns = source.world.situation.borrow().turns;
    let answer = match source.report().await {
        Ok(report) => metrics::ready(&report, turns),
        Err(error) => Err(report::line(&error)),
    };
    match answer {
        Ok(text) => line(StatusCode::OK, text),
        Err(text) => line(StatusCode::SERVICE_UNAVAILABLE, text),
    }
}
