//! Stripe's webhook over HTTP: verify, keep, answer. Nothing is delivered here, except where the configuration asks
//! to pass it through while Stripe waits.
//!
//! Whoever is refused hears in one line why; nothing is ever answered 5xx but what could not be kept or, without a
//! secret to be had, not judged.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;

use super::event::{Head, NotAnEvent};
use super::rows::{self, Incoming};
use super::signature::{self, Distrust};
use super::{Endpoint, Inbox, deliver};
use crate::http::{Peer, RawBody, line};
use crate::{report, store};

/// Bytes of the largest body taken. Stripe's events are some kilobytes; the largest known are below 256 KiB.
const BODY: usize = 1 << 20;
/// Stripe does not wait much longer.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Seconds after which a sender may come back when nothing can be kept.
const COME_BACK: i64 = 60;
/// Characters of an unknown endpoint's name that are shown.
const SHOWN: usize = 40;
const SIGNATURE: &str = "stripe-signature";

/// `POST /webhooks/stripe` for the endpoint named `default`, `POST /webhooks/stripe/NAME` for any.
///
/// A signed request costs the same few microseconds as refusing it early would, and Stripe sends in bursts that no
/// rate fits, so none is set here.
pub(super) fn router(inbox: Inbox) -> Router {
    let state = Arc::new((inbox, RawBody::new(BODY, BODY_WITHIN)));
    Router::new()
        .route("/webhooks/stripe", post(default))
        .route("/webhooks/stripe/{name}", post(named))
        .with_state(state)
}

type Shared = Arc<(Inbox, RawBody)>;

async fn default(State(shared): State<Shared>, request: Request) -> Response {
    receive(&shared, "default", request).await
}

async fn named(State(shared): State<Shared>, Path(name): Path<String>, request: Request) -> Response {
    receive(&shared, &name, request).await
}

async fn receive(shared: &(Inbox, RawBody), name: &str, request: Request) -> Response {
    let (inbox, body) = shared;
    let tally = &inbox.shared.tally;
    let peer = request.extensions().get().copied().unwrap_or(Peer::Local);
    let (parts, raw) = match body.read(request).await {
        Ok(read) => read,
        Err(refusal) => {
            tally.received("unread");
            refused(inbox, name, &refusal);
            return refusal.into_response();
        }
    };
    let client = match peer.client(&parts.headers, &[]) {
        Peer::Ip(address) => Some(address.to_string()),
        Peer::Local => None,
    };
    let arrival = Arrival { headers: &parts.headers, body: &raw, client, simulated: false };
    take(inbox, name, arrival).await.into_response()
}

/// A request, wherever it came from.
pub(super) struct Arrival<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) client: Option<String>,
    /// Made by a person on this machine; nothing that comes over HTTP can say so.
    pub(super) simulated: bool,
}

/// What Stripe hears.
#[derive(Debug, thiserror::Error)]
pub(super) enum Answer {
    #[error("kept")]
    Kept,
    #[error("kept already")]
    Repeated,
    /// Passed through: the app's own status.
    #[error("the app answers {0}")]
    App(u16),
    #[error("the app cannot be asked now: {0}")]
    Away(String),
    #[error("there is no such endpoint here")]
    NoEndpoint,
    #[error("no secret of this endpoint can be read now, so nothing can be believed")]
    NoSecret,
    #[error(transparent)]
    Distrust(#[from] Distrust),
    #[error(transparent)]
    NotAnEvent(#[from] NotAnEvent),
    #[error("the event is of {} mode, the secret of {} mode", mode(*.0), mode(!*.0))]
    WrongMode(bool),
    #[error("the store holds as much as it may: nothing is kept until there is room")]
    NoRoom,
    #[error("could not be kept")]
    NotKept(#[source] store::Error),
}

fn mode(live: bool) -> &'static str {
    if live { "live" } else { "test" }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Kept | Self::Repeated => StatusCode::OK,
            Self::App(status) => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            Self::Away(_) | Self::NoSecret => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoEndpoint => StatusCode::NOT_FOUND,
            Self::Distrust(_) => StatusCode::UNAUTHORIZED,
            Self::NotAnEvent(_) | Self::WrongMode(_) => StatusCode::BAD_REQUEST,
            Self::NoRoom | Self::NotKept(store::Error::Full) => StatusCode::INSUFFICIENT_STORAGE,
            Self::NotKept(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For counting.
    fn word(&self) -> &'static str {
        match self {
            Self::Kept | Self::App(_) | Self::Away(_) => "kept",
            Self::Repeated => "repeated",
            Self::NoEndpoint => "no_endpoint",
            Self::NoSecret => "no_secret",
            Self::Distrust(distrust) => distrust.word(),
            Self::NotAnEvent(_) => "no_event",
            Self::WrongMode(_) => "wrong_mode",
            Self::NoRoom => "no_room",
            Self::NotKept(_) => "not_kept",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut answer = line(status, &self);
        if status.is_server_error() {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK));
        }
        answer
    }
}

/// Verifies, keeps and answers.
pub(super) async fn take(inbox: &Inbox, endpoint: &str, arrival: Arrival<'_>) -> Answer {
    let answer = match try_take(inbox, endpoint, arrival).await {
        Ok(answer) | Err(answer) => answer,
    };
    inbox.shared.tally.received(answer.word());
    match &answer {
        Answer::Kept | Answer::Repeated | Answer::App(_) => {}
        Answer::NotKept(error) => {
            tracing::error!(endpoint, error = report::line(error), "an event could not be kept");
        }
        refusal => refused(inbox, endpoint, refusal),
    }
    answer
}

/// Says so in the log: at every knock for whoever looks closely, once a second for everybody else, because whoever
/// finds the address can knock. What is no endpoint is anybody's text, and the beginning of it is enough.
fn refused(inbox: &Inbox, endpoint: &str, why: &dyn Display) {
    let known = inbox.setup().endpoints.iter().any(|known| known.name == endpoint);
    if known && inbox.shared.tally.may_be_told(inbox.now()) {
        tracing::warn!(endpoint, "stripe webhook refused: {why}");
    } else {
        let endpoint: String = endpoint.chars().take(SHOWN).collect();
        tracing::debug!(endpoint, "stripe webhook refused: {why}");
    }
}

async fn try_take(inbox: &Inbox, name: &str, arrival: Arrival<'_>) -> Result<Answer, Answer> {
    let setup = inbox.setup();
    let endpoint = setup.endpoints.iter().find(|endpoint| endpoint.name == name);
    let endpoint = endpoint.ok_or(Answer::NoEndpoint)?;
    if endpoint.secrets.is_empty() {
        return Err(Answer::NoSecret);
    }
    let now = inbox.now();
    let (signature, head) = verify(endpoint, &arrival, now)?;
    let incoming = Incoming {
        endpoint: name.to_owned(),
        head,
        received: now,
        simulated: arrival.simulated,
        client: arrival.client,
        content_type: content_type(arrival.headers),
        signature,
        body: arrival.body.to_vec(),
    };
    let (limit, keeping) = (setup.keep.bytes, Arc::clone(&setup));
    let kept = inbox.shared.store.write(move |tx| {
        if rows::size(tx)? > limit {
            return Ok::<_, store::Error>(None);
        }
        rows::keep(tx, &incoming, &keeping).map(Some)
    });
    let kept = kept.await.map_err(Answer::NotKept)?.ok_or(Answer::NoRoom)?;
    inbox.shared.bells.ring(&kept.woken);
    if !kept.at_once.is_empty() {
        return Ok(pass_through(inbox, kept.at_once).await);
    }
    Ok(if kept.fresh { Answer::Kept } else { Answer::Repeated })
}

/// The signature as it stands in its header, and what the event says of itself.
fn verify(endpoint: &Endpoint, arrival: &Arrival<'_>, now: i64) -> Result<(String, Head), Answer> {
    let mut signatures = arrival.headers.get_all(SIGNATURE).iter();
    let signature = signatures.next().ok_or(Distrust::Missing)?;
    if signatures.next().is_some() {
        return Err(Distrust::Repeated.into());
    }
    let signature = signature.to_str().map_err(|_| Distrust::Malformed("it is no plain text"))?;
    let signer =
        signature::verify(signature, arrival.body, &endpoint.secrets, endpoint.tolerance, now / 1000)?;
    let head = Head::read(arrival.body)?;
    match (endpoint.secrets[signer].livemode, head.livemode) {
        (Some(secret), Some(event)) if secret != event => Err(Answer::WrongMode(event)),
        _ => Ok((signature.to_owned(), head)),
    }
}

/// The content type as sent. It is not signed, so one that makes no sense is put right rather than refused.
fn content_type(headers: &HeaderMap) -> String {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    sent.filter(|text| (1..=200).contains(&text.len())).unwrap_or("application/json").to_owned()
}

/// Attempts these deliveries while the sender waits. Of several answers the worst is Stripe's: it then sends again,
/// and whoever has it already is not asked again.
async fn pass_through(inbox: &Inbox, deliveries: Vec<(i64, String)>) -> Answer {
    let answers = join_all(deliveries.into_iter().map(|(number, name)| pass(inbox, number, name))).await;
    let good = |answer: &Answer| answer.status().is_success();
    let worst = answers.into_iter().reduce(|worst, next| if good(&worst) { next } else { worst });
    worst.unwrap_or(Answer::Kept)
}

async fn pass(inbox: &Inbox, number: i64, name: String) -> Answer {
    match deliver::at_once(inbox, number, &name).await {
        Ok(ending) => match ending.status {
            Some(status) => Answer::App(status),
            None => Answer::Away(ending.trouble.unwrap_or_default()),
        },
        Err(why) => Answer::Away(why),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;

    use axum::body::Body;
    use tokio::sync::watch;
    use tower::ServiceExt;
    use tracing::Level;

    use super::super::{Places, Setup, SigningSecret};
    use super::*;
    use crate::http::Secret;
    use crate::store::Store;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn strangers_fill_no_log() {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(Level::INFO).with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || sink.clone()).finish());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db"), rows::MIGRATIONS).unwrap();
        let secret = SigningSecret { secret: Secret::new("whsec_1").unwrap(), livemode: None };
        let tolerance = Duration::from_secs(300);
        let endpoints = vec![Endpoint { name: "default".into(), secrets: vec![secret], tolerance }];
        let setup = watch::Sender::new(Arc::new(Setup { endpoints, ..Setup::default() }));
        let places = watch::Sender::new(Places::default());
        let clock = Arc::new(|| 1_700_000_000_000);
        let router = Inbox::new(store, setup.subscribe(), places.subscribe(), clock).router();
        let knock = async |path: &str| {
            let request = Request::post(path).body(Body::from("{}")).unwrap();
            router.clone().oneshot(request).await.unwrap().status()
        };
        for n in 0..100 {
            let path = format!("/webhooks/stripe/{}{n}", "nobody".repeat(50));
            assert_eq!(knock(&path).await, StatusCode::NOT_FOUND);
            assert_eq!(knock("/webhooks/stripe").await, StatusCode::UNAUTHORIZED);
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("nobody"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("stripe webhook refused: not signed"), "{text}");
    }
}
