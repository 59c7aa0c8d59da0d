//! The buttons. Each leads to a page that says what would happen; only that page's own form does it. Nothing else
//! changes anything.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::guard::Signed;
use super::{Agent, Site};
use crate::model::run::ReleaseId;
use crate::orders::{Order, OrderError};
use crate::overview::short;
use crate::overview::time::Clock;
use crate::plan::explain::changes;
use crate::record::{RecordError, Release, Target, Why};
use crate::report;

/// A question before something is done.
#[derive(Default, Serialize)]
pub(super) struct Question {
    pub(super) title: String,
    /// What will happen, a paragraph each.
    pub(super) text: Vec<String>,
    /// What changes with it, a line each.
    pub(super) list: Vec<String>,
    /// Offer to stay there until somebody resumes.
    pub(super) may_hold: bool,
    pub(super) yes: &'static str,
    /// Why it cannot be done; then there is no button.
    pub(super) no: Option<String>,
}

pub(super) async fn ask_rollback<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Path(id): Path<i64>,
    signed: Signed,
) -> Response {
    site.ask(&signed, site.rollback_question(ReleaseId(id)).await)
}

pub(super) async fn ask_resume<A: Agent>(State(site): State<Arc<Site<A>>>, signed: Signed) -> Response {
    site.ask(&signed, site.resume_question().await)
}

pub(super) async fn ask_retry<A: Agent>(State(site): State<Arc<Site<A>>>, signed: Signed) -> Response {
    site.ask(&signed, site.retry_question().await)
}

pub(super) async fn roll_back<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Path(id): Path<i64>,
    signed: Signed,
    request: Request,
) -> Response {
    site.give(signed, request, |held| Order::Rollback { release: Some(ReleaseId(id)), hold: held }).await
}

pub(super) async fn resume<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    signed: Signed,
    request: Request,
) -> Response {
    site.give(signed, request, |_| Order::Resume).await
}

pub(super) async fn retry<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    signed: Signed,
    request: Request,
) -> Response {
    site.give(signed, request, |_| Order::Retry).await
}

impl<A: Agent> Site<A> {
    fn ask(&self, signed: &Signed, question: Result<Question, RecordError>) -> Response {
        match question {
            Ok(question) => self.pages.signed(StatusCode::OK, "confirm.html", signed, question),
            Err(error) => self.unreadable(signed, &error),
        }
    }

    /// Gives the order that a confirmed form asks for, and goes back to the first page, which says what was answered.
    async fn give(&self, signed: Signed, request: Request, order: impl FnOnce(bool) -> Order) -> Response {
        let form = match self.order_form(&signed, request).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        };
        let order = order(form.contains_key("hold"));
        tracing::info!(?order, "ordered on the dashboard");
        match self.agent.obey(order).await {
            Ok(said) => self.done(signed, said),
            Err(OrderError::Record(error @ RecordError::NoRelease(_))) => self.unreadable(&signed, &error),
            Err(error) => {
                let question = Question {
                    title: "That cannot be done".into(),
                    no: Some(report::line(&error)),
                    ..Question::default()
                };
                self.pages.signed(StatusCode::CONFLICT, "confirm.html", &signed, question)
            }
        }
    }

    /// What was asked for is not in the record, or the record cannot be read.
    pub(super) fn unreadable(&self, signed: &Signed, error: &RecordError) -> Response {
        let status = match error {
            RecordError::NoRun(_) | RecordError::NoRelease(_) => StatusCode::NOT_FOUND,
            _ => {
                tracing::error!("the dashboard: {}", report::line(error));
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        self.trouble(signed, status, report::line(error))
    }

    /// Back to the first page, which says what was answered.
    pub(super) fn done(&self, signed: Signed, said: String) -> Response {
        self.sessions.say(&signed.id, said);
        (StatusCode::SEE_OTHER, [(header::LOCATION, signed.root)]).into_response()
    }

    pub(super) fn trouble(&self, signed: &Signed, status: StatusCode, why: String) -> Response {
        let view = Question { no: Some(why), ..Question::default() };
        self.pages.signed(status, "trouble.html", signed, view)
    }

    async fn rollback_question(&self, id: ReleaseId) -> Result<Question, RecordError> {
        let record = self.agent.record();
        let release = record.release(id).await?;
        let mut question = Question {
            title: format!("Go back to release {id}?"),
            text: vec![format!("Release {id} is {} “{}”.", release.revision.short(), release.subject)],
            yes: "Go back",
            may_hold: true,
            ..Question::default()
        };
        if record.taken_back().await?.contains(&id) {
            question
                .text
                .push("It was taken back before: it went bad, or a person went back from it.".into());
        }
        match record.current().await? {
            None => question.text.push("It comes back whole: images, configuration and routes.".into()),
            Some(current) if current.id == id => question.no = Some("It is the release that runs.".into()),
            Some(current) => {
                question.list = differences(&current, &release);
                question.text.push(format!(
                    "It comes back whole: images, configuration and routes. {} “{}” stays out.",
                    current.revision.short(),
                    current.subject
                ));
            }
        }
        Ok(question)
    }

    async fn resume_question(&self) -> Result<Question, RecordError> {
        let mut question =
            Question { title: "Follow the branch again?".into(), yes: "Resume", ..Question::default() };
        if self.agent.record().paused(Clock::local().now).await?.is_some() {
            question.title = "End the pause?".into();
            question.text.push("The agent goes on by itself: it deploys, heals and takes back.".into());
            return Ok(question);
        }
        match self.agent.record().target().await? {
            Target::Branch | Target::Back { .. } => {
                question.no = Some("Nothing is held: the agent follows the branch.".into())
            }
            Target::Down { then: None } => {
                question.text.push("The stack comes up again, as the branch says.".into())
            }
            Target::Down { then: Some(_) } => {
                question.text.push("The stack comes up again, as it was.".into())
            }
            Target::Pinned(hold) => {
                question.text.push(format!("Release {} is no longer held.", hold.release));
                question.text.extend(
                    hold.denied
                        .map(|out| format!("{}, which was rolled back, may go live again.", out.short())),
                );
            }
        }
        Ok(question)
    }

    async fn retry_question(&self) -> Result<Question, RecordError> {
        let mut question =
            Question { title: "Try it again?".into(), yes: "Try again", ..Question::default() };
        let record = self.agent.record();
        match (record.target().await?, record.degraded().await?) {
            (Target::Down { .. }, _) => {
                question.no = Some("The stack is down. Resume, and it comes up again.".into());
                return Ok(question);
            }
            (_, Some(given_up)) => {
                question.text.push(format!("{} is mended again.", given_up.services.join(", ")));
                return Ok(question);
            }
            (Target::Pinned(hold), None) => {
                question.no = Some(format!("Release {} is held. Resume first.", hold.release));
                return Ok(question);
            }
            (Target::Branch | Target::Back { .. }, None) => {}
        }
        let Some(tip) = self.agent.status().situation.tip else {
            question.no = Some("The branch was never reached, so there is nothing to try.".into());
            return Ok(question);
        };
        question.text.push(format!("The branch is at {}.", short(&tip)));
        let denial = match tip.parse() {
            Ok(revision) => record.denial(&revision).await?,
            Err(_) => None,
        };
        question.text.push(match denial.map(|denial| denial.why) {
            Some(Why::Stalled { .. }) => {
                "It failed, and nothing of it has changed since; it is tried once more.".into()
            }
            Some(Why::WentBad { .. }) => {
                "It was live and went bad; it may go live again, and is watched again.".into()
            }
            Some(Why::RolledBack) => "It was rolled back; it may go live again.".into(),
            None => "It stays out for no reason of its own; what is wrong is tried again at once.".to_owned(),
        });
        Ok(question)
    }
}

/// What differs between two releases, by service: names, never values.
fn differences(from: &Release, to: &Release) -> Vec<String> {
    let (from, to) = (&from.desired, &to.desired);
    let mut lines = Vec::new();
    for (name, service) in &to.services {
        match from.services.get(name) {
            None => lines.push(format!("{name}: comes back")),
            Some(before) if before.fingerprint != service.fingerprint => {
                lines.push(format!("{name}: {}", changes(Some(before), service)));
            }
            Some(_) => {}
        }
    }
    let gone = from.services.keys().filter(|name| !to.services.contains_key(*name));
    lines.extend(gone.map(|name| format!("{name}: goes")));
    if from.routes != to.routes {
        lines.push("routes change".to_owned());
    }
    lines
}
