//! Stripe's events: what waits, what is dead, the story of one, and sending again. What an event holds is shown to
//! nobody here: it is about people and their payments.

mod view;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::act::Question;
use super::guard::Signed;
use super::{Agent, Site};
use crate::inbox::{Filter, Inbox, InboxError, Scope, State as Became, Which};
use crate::overview::time::Clock;
use crate::report;
use crate::store;

pub(super) use view::Overview;
use view::{overview, story};

/// Events in a list; the command line lists all.
const EVENTS: usize = 10;

/// What the first page tells of Stripe's events; `None` where none are received.
pub(super) async fn known(inbox: Option<&Inbox>, clock: &Clock) -> Result<Option<Overview>, store::Error> {
    let Some(reader) = inbox.map(Inbox::reader) else { return Ok(None) };
    let newest = Filter { limit: EVENTS, ..Filter::default() };
    let dead = Filter { state: Some(Became::Dead), ..newest.clone() };
    let (backlog, newest) = (reader.backlog().await?, reader.events(newest).await?);
    Ok(Some(overview(&backlog, &reader.events(dead).await?, &newest, clock)))
}

pub(super) async fn page<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Path(id): Path<String>,
    signed: Signed,
) -> Response {
    let Some(inbox) = site.agent.inbox() else { return site.no_event(&signed, &id) };
    match inbox.reader().story(id.clone(), None).await {
        Ok(Some(told)) => {
            site.pages.signed(StatusCode::OK, "event.html", &signed, story(&told, &Clock::local()))
        }
        Ok(None) => site.no_event(&signed, &id),
        Err(error) => site.trouble(&signed, StatusCode::INTERNAL_SERVER_ERROR, report::line(&error)),
    }
}

pub(super) async fn ask_resend<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Path(id): Path<String>,
    signed: Signed,
) -> Response {
    let question = Question {
        title: format!("Send {id} again?"),
        text: vec![
            "It is delivered once more to every service that wants it, whether or not it was before. Apps know an \
             event again by its id."
                .to_owned(),
        ],
        yes: "Send again",
        ..Question::default()
    };
    site.pages.signed(StatusCode::OK, "confirm.html", &signed, question)
}

pub(super) async fn ask_resend_dead<A: Agent>(State(site): State<Arc<Site<A>>>, signed: Signed) -> Response {
    let question = Question {
        title: "Send all dead letters again?".to_owned(),
        text: vec!["Each is tried again from the beginning, at once and for three days.".to_owned()],
        yes: "Send again",
        ..Question::default()
    };
    site.pages.signed(StatusCode::OK, "confirm.html", &signed, question)
}

pub(super) async fn resend<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Path(id): Path<String>,
    signed: Signed,
    request: Request,
) -> Response {
    site.resend(signed, request, Which::One { id }).await
}

pub(super) async fn resend_dead<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    signed: Signed,
    request: Request,
) -> Response {
    site.resend(signed, request, Which::Dead).await
}

impl<A: Agent> Site<A> {
    async fn resend(&self, signed: Signed, request: Request, which: Which) -> Response {
        if let Err(refusal) = self.order_form(&signed, request).await {
            return refusal;
        }
        let Some(inbox) = self.agent.inbox() else { return self.no_event(&signed, "such") };
        tracing::info!(?which, "sent again from the dashboard");
        match inbox.resend(Scope { which, destination: None }).await {
            Ok(again) => {
                let deliveries = if again.deliveries == 1 { "delivery" } else { "deliveries" };
                self.done(signed, format!("sending again: {} {deliveries}", again.deliveries))
            }
            Err(InboxError::NoEvent(id)) => self.no_event(&signed, &id),
            Err(error) => self.trouble(&signed, StatusCode::CONFLICT, report::line(&error)),
        }
    }

    fn no_event(&self, signed: &Signed, id: &str) -> Response {
        self.trouble(signed, StatusCode::NOT_FOUND, format!("There is no event {id}."))
    }
}
