//! The accept loop: HTTP/1.1 on a TCP or Unix socket, where no client can hold a connection for nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::serve::Listener;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::Peer;

/// What a connection may take before any route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the opening of the connection, or the end of the answer before, to the end of the headers: the
    /// limit on slow headers and on idle connections alike.
    pub headers_within: Duration,
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// After the stop, how long requests under way may take to end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { headers_within: Duration::from_secs(10), connections: 512, drain: Duration::from_secs(10) }
    }
}

/// Bytes of request line and headers, at most; larger ones get 431.
const HEADERS: usize = 64 * 1024;

/// After the stop, how long one that was accepted may take to ask, and how often it is then seen whether anybody waits for
/// an answer.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// Serves until `stop`, then lets requests whose head has come end within the limit and closes what is left. Returns
/// when no connection is open any more.
pub async fn serve<L>(mut listener: L, router: Router, limits: Limits, stop: CancellationToken)
where
    L: Listener,
    Peer: From<L::Addr>,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let next = async |listener: &mut L| {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let (io, address) = listener.accept().await;
        Some((permit, io, address))
    };
    while let Some(Some((permit, io, address))) = stop.run_until_cancelled(next(&mut listener)).await {
        let connection = Connection { router: router.clone(), limits, stop: stop.clone(), _permit: permit };
        let cut = cut.clone();
        let peer = Peer::from(address);
        connections.spawn(async move { cut.run_until_cancelled(connection.run(io, peer)).await });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "closing connections that did not end in time");
        cut.cancel();
        connections.wait().await;
    }
}

struct Connection {
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let asked = CancellationToken::new();
        // Whoever is being answered has a share of it, from the end of the request's head to the answer's.
        let answered = Arc::new(());
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            asked.cancel();
            let share = Arc::clone(&answered);
            request.extensions_mut().insert(peer);
            let request: Request = request.map(Body::new);
            let (answer, stop) = (self.router.clone().oneshot(request), self.stop.clone());
            async move {
                let mut answer =
                    answer.await.map(|answer| answer.map(|body| Sending { body, _share: share }));
                if let (Ok(answer), true) = (&mut answer, stop.is_cancelled()) {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.headers_within)
                .max_buf_size(HEADERS)
                .serve_connection(TokioIo::new(io), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => tokio::select! {
                ended = connection.as_mut() => ended,
                // hyper closes at once what has not asked yet, though its request may be on the way.
                _ = timeout(FIRST_WORD, asked.cancelled()) => {
                    connection.as_mut().graceful_shutdown();
                    loop {
                        tokio::select! {
                            ended = connection.as_mut() => break ended,
                            // It has begun a head and does not end it: that could hold everybody up.
                            () = sleep(FIRST_WORD) => if Arc::strong_count(&answered) == 1 { return },
                        }
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(?peer, %error, "a connection ended early");
        }
    }
}

/// A body whose end is seen.
struct Sending {
    body: Body,
    _share: Arc<()>,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
