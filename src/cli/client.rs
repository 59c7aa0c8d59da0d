//! The daemon's own door from outside: HTTP/1.1 on the Unix socket in the state folder (`app::control`).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::error::{CliError, Code};
use crate::app::Preview;
use crate::app::control::{self, Accepted, Status};
use crate::config::Config;
use crate::model::run::Failure;
use crate::orders::Order;

/// A status is at hand at once; a daemon that does not answer this long is not yet, or no longer, at work.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A configuration is checked at once too, and after what the daemon is just opening.
const CHECKED: Duration = Duration::from_secs(30);

pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon of this state folder; `None` when none runs.
    pub(super) async fn find(config: &Config) -> Result<Option<Self>, CliError> {
        let socket = config.state.join(control::SOCKET);
        match UnixStream::connect(&socket).await {
            Ok(_) => Ok(Some(Self { socket })),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(Self { socket }.unreachable(Box::new(error))),
        }
    }

    pub(super) async fn status(&self) -> Result<Status, CliError> {
        self.within(AT_ONCE, self.ask(Method::GET, "/status", Bytes::new())).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(self.unreachable(Box::new(elapsed))),
        }
    }

    pub(super) async fn order(&self, order: &Order) -> Result<Accepted, CliError> {
        self.status().await?;
        self.ask(Method::POST, "/orders", json(order)?).await
    }

    /// Asks also a daemon that waits for the engine, which has no status yet.
    pub(super) async fn reload(&self) -> Result<String, CliError> {
        match self.within(CHECKED, self.ask(Method::POST, "/reload", Bytes::new())).await {
            Err(CliError::Refused { failure, .. }) => Err(CliError::Refused { code: Code::Usage, failure }),
            answer => answer,
        }
    }

    /// However long it takes: images of others may be pulled for it.
    pub(super) async fn plan(&self) -> Result<Preview, CliError> {
        self.status().await?;
        self.ask(Method::GET, "/plan", Bytes::new()).await
    }

    pub(super) async fn config(&self) -> Result<serde_json::Value, CliError> {
        self.status().await?;
        self.ask(Method::GET, "/config", Bytes::new()).await
    }

    /// An order about Stripe's events.
    pub(super) async fn stripe<T: DeserializeOwned>(
        &self,
        what: &str,
        order: &impl Serialize,
    ) -> Result<T, CliError> {
        self.status().await?;
        self.ask(Method::POST, &format!("/stripe/{what}"), json(order)?).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, CliError> {
        let (status, body) =
            self.exchange(method, path, body).await.map_err(|error| self.unreachable(error))?;
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).map_err(|error| self.unreachable(Box::new(error)))
            }
            StatusCode::CONFLICT => Err(CliError::moved()),
            _ => Err(CliError::Refused { code: Code::Failed, failure: failure(status, &body) }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end is seen by the sender.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "agent")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn unreachable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> CliError {
        let denied = source
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        CliError::Unreachable {
            what: format!("the daemon at {} does not answer", self.socket.display()),
            hint: Some(if denied {
                "run this as the user that runs the agent, usually root"
            } else {
                "it may be starting, or waiting for the engine: journalctl -u agent"
            }),
            source: Some(source),
        }
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, CliError> {
    Ok(serde_json::to_vec(value).map_err(io::Error::from)?.into())
}

/// What a refusal says; one that is not in our words is shown as it is.
fn failure(status: StatusCode, body: &[u8]) -> Failure {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(body);
        Failure { message: format!("the daemon answered {status}: {said}"), ..Failure::default() }
    })
}
