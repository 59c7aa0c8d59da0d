//! One HTTP request to nginx on a connection of its own: a kept connection would stay with an old worker and
//! so never see the new configuration.

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Body;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Unanswered;

pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty unless it announces to be as short as a generation: others are not waited for.
    pub(super) body: String,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

pub(super) async fn get(
    at: SocketAddrV4,
    host: &str,
    path: &str,
    limit: Duration,
) -> Result<Answer, Unanswered> {
    match timeout(limit, exchange(at, host, path)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Unanswered::Silence { at, source }),
        Err(_) => Err(Unanswered::Slow { seconds: limit.as_secs() }),
    }
}

async fn exchange(at: SocketAddrV4, host: &str, path: &str) -> Result<Answer, AnyError> {
    let stream = TcpStream::connect(at).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "agent-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let short = response.body().size_hint().exact().is_some_and(|length| length <= 64);
        let body = if short { response.into_body().collect().await?.to_bytes() } else { Bytes::new() };
        Ok::<_, AnyError>(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    // The connection is driven here, not in a task of its own, so that nothing outlives a timeout.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}
