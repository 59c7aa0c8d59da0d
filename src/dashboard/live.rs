//! The stream by which open pages learn that they are out of date. It says when, never what: a page then fetches
//! itself again, so that there is one way to write it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::guard::Signed;
use super::{Agent, Site};
use crate::http::line;
use crate::reconcile::{Doing, Situation};

/// Several changes within this time are one.
const GATHER: Duration = Duration::from_millis(250);
/// What nobody writes down, a build's output and the state of containers, is looked at this often, ...
const AT_WORK: Duration = Duration::from_secs(1);
/// ... and while nothing is being done, this often.
const AT_REST: Duration = Duration::from_secs(10);

pub(super) async fn events<A: Agent>(State(site): State<Arc<Site<A>>>, signed: Signed) -> Response {
    let Ok(place) = Arc::clone(&site.watchers).try_acquire_owned() else {
        return line(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open at once");
    };
    let watcher = Watcher {
        commits: site.agent.record().commits(),
        situation: site.agent.situation(),
        id: signed.id,
        site: site.clone(),
        _place: place,
    };
    // A stream that did not end with the agent would keep it from ending.
    Sse::new(watcher.changes().take_until(site.stop.clone().cancelled_owned())).into_response()
}

struct Watcher<A> {
    commits: watch::Receiver<u64>,
    situation: watch::Receiver<Situation>,
    id: String,
    site: Arc<Site<A>>,
    _place: OwnedSemaphorePermit,
}

impl<A: Agent> Watcher<A> {
    fn changes(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watcher| async move {
            watcher.change().await;
            watcher.is_signed_in().then(|| (Ok(Event::default().event("change").data("look again")), watcher))
        })
    }

    async fn change(&mut self) {
        let idle = self.situation.borrow().doing == Doing::Idle;
        tokio::select! {
            // The senders live as long as the agent.
            _ = self.commits.changed() => {}
            _ = self.situation.changed() => {}
            () = tokio::time::sleep(if idle { AT_REST } else { AT_WORK }) => {}
        }
        tokio::time::sleep(GATHER).await;
        self.commits.mark_unchanged();
        self.situation.mark_unchanged();
    }

    /// A page that is left open outlives its session; what it shows must not.
    fn is_signed_in(&self) -> bool {
        let token = self.site.token.read();
        token.is_ok_and(|token| self.site.sessions.csrf(&self.id, &token, Instant::now()).is_some())
    }
}
