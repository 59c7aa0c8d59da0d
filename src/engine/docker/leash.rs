//! A client whose connections end with the work that they were opened for.
//!
//! bollard answers BuildKit's session from a task that nothing ends. The engine keeps such a connection for ever and asks
//! it every few seconds whether it is alive: one more for each build, on both sides.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tower::Service;

use super::Docker;
use super::connect::{PATIENCE_SECONDS, socket_path};
use crate::engine::EngineError;

impl Docker {
    /// As [`Docker::patient`]. When the guard is dropped every connection of the client is closed, also those that tasks
    /// of its own still hold.
    pub(super) fn leashed(&self, extra: Duration) -> Result<(bollard::Docker, DropGuard), EngineError> {
        let over = CancellationToken::new();
        let dial = Dial { path: socket_path(&self.at)?.into(), over: over.clone() };
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(dial);
        let send = move |request: BollardRequest| {
            let answer = client.request(request);
            Box::pin(async move { answer.await.map_err(Error::from) }) as Pin<Box<_>>
        };
        let version = self.client.client_version();
        let client = bollard::Docker::connect_with_custom_transport(
            send,
            Some("http://engine"),
            PATIENCE_SECONDS,
            &version,
        );
        let client = client.map_err(|error| self.fault("open a connection for a build", error))?;
        let patience = Duration::from_secs(PATIENCE_SECONDS).saturating_add(extra);
        Ok((client.with_timeout(patience), over.drop_guard()))
    }
}

#[derive(Clone)]
struct Dial {
    path: PathBuf,
    over: CancellationToken,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Line>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Dial { path, over } = self.clone();
        Box::pin(async move {
            let socket = UnixStream::connect(path).await?;
            Ok(TokioIo::new(Line { socket, over: Box::pin(over.cancelled_owned()) }))
        })
    }
}

/// A connection on which nothing more comes when the work is over: whoever reads from it lets go of it.
struct Line {
    socket: UnixStream,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
