//! What webhooks were answered, by address and status. Addresses are those that are served; whatever else is asked for
//! counts as one, so that strangers cannot fill the memory with names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;

use super::Text;

/// Counts since the start of the process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<(String, u16), u64>>>);

impl Answers {
    /// The router with everything it answers counted.
    pub fn count(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), count))
    }

    pub(super) fn write(&self, out: &mut Text) {
        let answers =
            out.counter("agent_webhook_answers_total", "Answers to webhooks, by address and status.");
        for ((path, code), count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            answers.set(&[("path", path), ("code", &code.to_string())], *count as f64);
        }
    }
}

async fn count(State(answers): State<Answers>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("other", |path| path.as_str()).to_owned();
    let response = next.run(request).await;
    let mut counts = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry((path, response.status().as_u16())).or_default() += 1;
    response
}
