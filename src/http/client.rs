//! Asking others over HTTP and HTTPS: one request, one bounded answer, always within a time.
//!
//! Redirects are not followed: where a token goes is written in the configuration and nowhere else. Nothing is tried
//! again here; whoever asks knows whether asking twice is harmless.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// Bytes of an answer that are read, at most.
const MOST: usize = 1024 * 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A kept-open connection may be gone by the time it is used again; hosts close theirs after a minute or so.
const IDLE: Duration = Duration::from_secs(30);

/// Clones share their connections.
#[derive(Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the authorities that this machine trusts cannot be read")]
    Authorities(#[source] io::Error),
    #[error("{host} did not answer in {} s", within.as_secs_f64())]
    TooSlow { host: String, within: Duration },
    #[error(
        "the certificate of {host} is not trusted; put its authority into the machine's store \
        (update-ca-certificates), or name a file with all authorities in the variable SSL_CERT_FILE"
    )]
    Untrusted {
        host: String,
        #[source]
        source: legacy::Error,
    },
    #[error("{host} cannot be reached")]
    Unreachable {
        host: String,
        #[source]
        source: legacy::Error,
    },
    #[error("the answer of {host} broke off, or is longer than 1 MiB")]
    Answer {
        host: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Client {
    /// Trusts what the system trusts; the variable `SSL_CERT_FILE` names another file with authorities.
    pub fn new() -> Result<Self, ClientError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(ClientError::Authorities)?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        Ok(Self(builder.build(connector)))
    }

    /// Sends a request and reads the whole answer, all of it `within` this time.
    pub async fn ask(&self, request: Request<Bytes>, within: Duration) -> Result<Answer, ClientError> {
        let host = request.uri().authority().map(|host| host.host().to_owned()).unwrap_or_default();
        let asked = timeout(within, self.exchange(&host, request.map(Full::new)));
        asked.await.map_err(|_| ClientError::TooSlow { host: host.clone(), within })?
    }

    async fn exchange(&self, host: &str, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|source| unreachable(host.to_owned(), source))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MOST).collect().await;
        let body = body.map_err(|source| ClientError::Answer { host: host.to_owned(), source })?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn unreachable(host: String, source: legacy::Error) -> ClientError {
    let mut layer: Option<&dyn Error> = Some(&source);
    while let Some(error) = layer {
        // rustls' own words: its types are those of a library below the one that is used here.
        if error.to_string().starts_with("invalid peer certificate") {
            return ClientError::Untrusted { host, source };
        }
        layer = error.source();
    }
    ClientError::Unreachable { host, source }
}

impl Answer {
    /// The beginning of the body in a line, for messages.
    pub fn brief(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]);
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect()
    }
}
