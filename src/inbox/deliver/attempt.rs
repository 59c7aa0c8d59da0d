//! One attempt: a request, and what its answer means.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use chrono::DateTime;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::rows::{Ending, Next, Parcel};
use super::super::{Clock, Destination, schedule};
use super::headers::headers;

pub(in super::super) type Client = legacy::Client<HttpConnector, Full<Bytes>>;

/// Bytes of an answer that are kept.
const ANSWER: usize = 4096;
/// How long the rest of an answer is waited for once its status is known.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A connection that has rested this long is not used again: most servers close theirs after some seconds, and one
/// that is closed in the moment of asking costs an attempt.
const REST: Duration = Duration::from_secs(1);

/// A client that keeps connections while there is much to deliver. It follows no redirect.
pub(in super::super) fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(REST)
        .build(connector)
}

/// Asks once.
pub(in super::super) async fn attempt(
    client: &Client,
    destination: &Destination,
    address: IpAddr,
    parcel: &Parcel,
    clock: &Clock,
) -> Ending {
    let (at, begun) = (clock(), Instant::now());
    let url = format!("http://{}{}", SocketAddr::from((address, destination.port)), destination.path);
    let answered = timeout(destination.timeout, ask(client, &url, destination, parcel, at)).await;
    let answered =
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", destination.timeout.as_secs_f64())));
    let mut ending = Ending {
        delivery: parcel.delivery,
        at,
        took: 0,
        url,
        status: None,
        trouble: None,
        answer: Vec::new(),
        next: Next::Dead,
    };
    let mut asked = None;
    match answered {
        Ok(response) => {
            ending.status = Some(response.status().as_u16());
            asked = retry_after(response.headers(), clock());
            ending.took = millis(begun);
            ending.answer = beginning(response.into_body()).await;
        }
        Err(trouble) => {
            ending.trouble = Some(trouble);
            ending.took = millis(begun);
        }
    }
    ending.next = next(ending.status, asked, parcel, clock());
    ending
}

fn millis(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// The head of the answer, or what was met instead.
async fn ask(
    client: &Client,
    url: &str,
    destination: &Destination,
    parcel: &Parcel,
    at: i64,
) -> Result<Response<Incoming>, String> {
    let body = Full::new(parcel.body.clone());
    let mut request = Request::post(url).body(body).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers(destination, parcel, at);
    client.request(request).await.map_err(|error| innermost(&error))
}

/// What really happened; the layers above it only say that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The beginning of the body, as far as it comes.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(ANSWER - bytes.len())]);
        }
    }
    bytes
}

/// `Retry-After` in seconds from `now` (milliseconds), written as a number or as a date.
fn retry_after(headers: &HeaderMap, now: i64) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.timestamp_millis() - now) / 1000)
}

/// Any 2xx is success. 410 says that nobody will ever want it. Everything else may be over by the next attempt: a
/// 404 while an app boots, a 400 from a bug that is fixed tomorrow, a redirect of a wrong configuration.
fn next(status: Option<u16>, asked: Option<i64>, parcel: &Parcel, now: i64) -> Next {
    match status {
        Some(200..=299) => Next::Delivered,
        Some(410) => Next::Dead,
        _ => schedule::after_asked(parcel.step, parcel.delivery.cast_unsigned(), asked)
            .map_or(Next::Dead, |gap| Next::Again(now + gap)),
    }
}
