//! Request bodies as they came, byte for byte (signatures are made over these), bounded in size, time and
//! in how much memory all of them together may take.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::line;

/// Bodies up to this size are read at once, as many as there are connections.
const SMALL: usize = 256 * 1024;
/// Larger ones are rare; this many at a time on one route, so that a crowd of strangers sending the most
/// that is allowed cannot fill the memory before a signature has been looked at.
const LARGE_AT_ONCE: usize = 4;

/// How bodies are read on one route.
pub struct RawBody {
    limit: usize,
    within: Duration,
    large: Arc<Semaphore>,
}

/// A body that was read. A large one takes up one of the few places for such until it is dropped.
pub struct Raw {
    bytes: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the body is larger than the {0} bytes this address takes")]
    TooLarge(usize),
    #[error("the body did not arrive within {} s", .0.as_secs_f64())]
    TooSlow(Duration),
    #[error("too many large bodies at once: try again shortly")]
    Crowded,
    #[error("the body is incomplete or malformed")]
    Broken,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::Broken => StatusCode::BAD_REQUEST,
        };
        let mut answer = line(status, self);
        if self == Self::Crowded {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(5));
        }
        answer
    }
}

impl RawBody {
    /// At most `limit` bytes, all there `within` this time from the end of the headers.
    pub fn new(limit: usize, within: Duration) -> Self {
        Self { limit, within, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// The request's head and its whole body.
    pub async fn read(&self, request: Request) -> Result<(Parts, Raw), Refusal> {
        let deadline = Instant::now() + self.within;
        let (parts, mut body) = request.into_parts();
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let announced = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > self.limit as u64) {
            // Whoever asks first (`Expect: 100-continue`) has not sent anything yet.
            if !parts.headers.contains_key(header::EXPECT) {
                self.discard(&mut body, deadline).await;
            }
            return Err(Refusal::TooLarge(self.limit));
        }
        let place = match announced {
            Some(bytes) if bytes <= SMALL as u64 => None,
            _ => Some(self.place().await?),
        };
        let mut bytes = Vec::new();
        while let Some(frame) =
            timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::TooSlow(self.within))?
        {
            let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > self.limit {
                drop(bytes);
                self.discard(&mut body, deadline).await;
                return Err(Refusal::TooLarge(self.limit));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((parts, Raw { bytes, _place: place }))
    }

    /// A place for a large body. Not waited for longer than leaves time to read it.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = timeout(self.within / 2, Arc::clone(&self.large).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Refusal::Crowded)
    }

    /// Reads on for a while without keeping anything. A client that is still sending when the connection
    /// closes gets a reset and often never sees the answer that says why.
    async fn discard(&self, body: &mut Body, deadline: Instant) {
        let mut left = self.limit;
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            let read = frame.data_ref().map_or(0, |data| data.len());
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}
