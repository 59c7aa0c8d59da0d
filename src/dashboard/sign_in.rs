//! Signing in and out.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::context;
use serde::Deserialize;

use super::guard::{Signed, from_our_page};
use super::{Agent, SHORTEST_TOKEN, Site, session};
use crate::http::{Peer, line};
use crate::report;

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// What a person sees who has not signed in.
pub(super) fn first<A: Agent>(site: &Site<A>, parts: &Parts, root: &str) -> Response {
    let path = parts.uri.path().trim_start_matches('/');
    // A cookie that only our own pages may bring does not come along when another site's link leads here: a page of
    // ours that goes on to itself is what brings it. Whoever then has none is sent on below.
    if !from_our_page(&parts.headers) && is_page(path) {
        return site.pages.answer(StatusCode::OK, "onward.html", context! { root });
    }
    if path == "changes" {
        return line(StatusCode::UNAUTHORIZED, "sign in first");
    }
    let to = if is_page(path) { format!("{root}sign-in?next={path}") } else { format!("{root}sign-in") };
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

pub(super) async fn ask<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    Query(next): Query<Next>,
    request: Request,
) -> Response {
    let open = is_open(request.extensions(), request.headers());
    Form { status: StatusCode::OK, next: &next.next, wrong: None, open }.show(&site)
}

pub(super) async fn open<A: Agent>(State(site): State<Arc<Site<A>>>, request: Request) -> Response {
    let secure = is_encrypted(request.headers());
    let open = is_open(request.extensions(), request.headers());
    let form = match site.form(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let field = |name| form.get(name).map_or("", |text: &String| text.trim());
    let (given, next) = (field("token"), field("next"));
    let token = match site.token.read() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!("nobody can sign in to the dashboard: {}", report::line(&error));
            let wrong = Some("The agent cannot read its token; its log says why.");
            return Form { status: StatusCode::SERVICE_UNAVAILABLE, next, wrong, open }.show(&site);
        }
    };
    if token.chars().count() < SHORTEST_TOKEN || !session::same(given, &token) {
        tracing::warn!("somebody tried to sign in to the dashboard with a wrong token");
        let wrong = Some("That is not the token.");
        return Form { status: StatusCode::FORBIDDEN, next, wrong, open }.show(&site);
    }
    let id = match site.sessions.open(&token, Instant::now()) {
        Ok(id) => id,
        Err(error) => {
            tracing::error!("no session can be opened: {}", report::line(&error));
            return line(
                StatusCode::SERVICE_UNAVAILABLE,
                "no session can be opened; the agent's log says why",
            );
        }
    };
    let to = if is_page(next) && !next.is_empty() { next } else { "./" };
    // Without a path it counts from this page's folder on: the prefix under which the pages are published.
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{}={id}; HttpOnly; SameSite=Strict{secure}", site.cookie());
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned()), (header::SET_COOKIE, cookie)]).into_response()
}

pub(super) async fn close<A: Agent>(
    State(site): State<Arc<Site<A>>>,
    signed: Signed,
    request: Request,
) -> Response {
    if let Err(refusal) = site.order_form(&signed, request).await {
        return refusal;
    }
    site.sessions.close(&signed.id);
    let cookie = format!("{}=; HttpOnly; SameSite=Strict; Max-Age=0", site.cookie());
    let to = "./sign-in".to_owned();
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::SET_COOKIE, cookie)]).into_response()
}

struct Form<'a> {
    status: StatusCode,
    /// The page to go on to.
    next: &'a str,
    /// Why it is shown again.
    wrong: Option<&'a str>,
    /// Whether a token would be sent for everybody on the way to read.
    open: bool,
}

impl Form<'_> {
    fn show<A: Agent>(self, site: &Site<A>) -> Response {
        let Self { status, next, wrong, open } = self;
        let next = if is_page(next) { next } else { "" };
        site.pages.answer(status, "sign-in.html", context! { root => "./", next, wrong, open })
    }
}

/// Only a page of ours is gone to after signing in, never an address that somebody made up.
fn is_page(path: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match path.split('/').collect::<Vec<_>>()[..] {
        ["" | "resume" | "retry" | "dead-letters"] => true,
        ["runs", id] | ["releases", id, "rollback"] => number(id),
        ["stripe", id] | ["stripe", id, "resend"] => word(id),
        _ => false,
    }
}

/// Whether the browser's own connection is encrypted. Only the sender's own cookie depends on it, so it may be told
/// by anybody.
fn is_encrypted(headers: &HeaderMap) -> bool {
    let told = headers.get_all("x-forwarded-proto").iter().filter_map(|value| value.to_str().ok());
    told.flat_map(|value| value.split(',')).any(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

/// What came through nginx is from outside; what came to the port is from this machine, or through somebody's own
/// tunnel.
fn is_open(extensions: &Extensions, headers: &HeaderMap) -> bool {
    extensions.get() == Some(&Peer::Local) && !is_encrypted(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for page in ["", "resume", "runs/12", "releases/3/rollback", "stripe/evt_1/resend"] {
            assert!(is_page(page), "{page}");
        }
        for other in
            ["//evil.example", "https://evil.example", "runs/", "runs/x", "runs/1/..", "\\evil", "changes"]
        {
            assert!(!is_page(other), "{other}");
        }
    }
}
