//! What every answer and every request must have: headers that keep the page to itself, a session, and, for whatever
//! changes something, the proof that our own page asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Agent, Site, session, sign_in};
use crate::http::line;

/// Everything comes from this address, and nothing of it stands within the page. The rest is for browsers that ask.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// A person who has signed in.
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) csrf: String,
    /// The way from the asked page to the first one, which differs below a prefix: `./` or `../`.
    pub(super) root: String,
}

impl<A: Agent> FromRequestParts<Arc<Site<A>>> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site<A>>) -> Result<Self, Response> {
        let root = root(parts.uri.path());
        match site.session(&parts.headers) {
            Some((id, csrf)) => Ok(Self { id, csrf, root }),
            None if parts.method != Method::GET => {
                Err(line(StatusCode::UNAUTHORIZED, "sign in first; nothing was done"))
            }
            None => Err(sign_in::first(site, parts, &root)),
        }
    }
}

impl<A: Agent> Site<A> {
    /// The id and the CSRF token of the session that a request belongs to.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let id = self.id(headers)?;
        let csrf = self.sessions.csrf(id, &self.token.read().ok()?, Instant::now())?;
        Some((id.to_owned(), csrf))
    }

    /// Whether a request comes with an open session, told without a look at the disk.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.id(headers).is_some_and(|id| self.sessions.is_open(id, Instant::now()))
    }

    fn id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let name = self.cookie();
        cookies(headers).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Cookies know no ports: two agents on one machine must not take each other's.
    pub(super) fn cookie(&self) -> String {
        format!("agent-{}", self.stack)
    }

    /// The fields of a form that our own page sent.
    pub(super) async fn form(&self, request: Request) -> Result<BTreeMap<String, String>, Response> {
        if !from_our_page(request.headers()) {
            return Err(line(StatusCode::FORBIDDEN, "another site sent this form; nothing was done"));
        }
        let (_, body) = self.forms.read(request).await.map_err(IntoResponse::into_response)?;
        Ok(form_urlencoded::parse(&body).into_owned().collect())
    }

    /// The same, with the session's CSRF token in it.
    pub(super) async fn order_form(
        &self,
        signed: &Signed,
        request: Request,
    ) -> Result<BTreeMap<String, String>, Response> {
        let form = self.form(request).await?;
        let given = form.get("csrf").map_or("", String::as_str);
        if session::same(given, &signed.csrf) {
            return Ok(form);
        }
        Err(line(
            StatusCode::FORBIDDEN,
            "this form is not of your session: load the page again; nothing was done",
        ))
    }
}

/// What the browser itself says of who asks, where it says it.
pub(super) fn from_our_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    matches!(site, None | Some("same-origin" | "none"))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn root(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        depth => "../".repeat(depth - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_home_is_relative() {
        let roots = ["/", "/resume", "/runs/3", "/releases/3/rollback"].map(root);
        assert_eq!(roots, ["./", "./", "../", "../../"]);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; agent-shop=x=y"));
        headers.append(header::COOKIE, HeaderValue::from_static("b; c=3"));
        let found: Vec<(&str, &str)> = cookies(&headers).collect();
        assert_eq!(found, [("a", "1"), ("agent-shop", "x=y"), ("c", "3")]);
    }
}
