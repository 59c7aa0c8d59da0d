//! One question to an instance, and what it met, in words.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::model::desired::{Probe, ProbeKind};

/// Asks once. `Err` says what was met.
pub async fn ask(probe: &Probe, address: Ipv4Addr, within: Duration) -> Result<(), String> {
    let at = SocketAddr::from((address, probe.port));
    let answer = match &probe.kind {
        ProbeKind::Tcp => tokio::time::timeout(within, connect(at)).await.map(|result| result.map(drop)),
        ProbeKind::Http { path } => {
            tokio::time::timeout(within, get(at, path, None, |status| (200..400).contains(&status))).await
        }
        ProbeKind::Route { path, host } => {
            tokio::time::timeout(within, get(at, path, host.as_deref(), |status| status < 500)).await
        }
    };
    answer
        .unwrap_or_else(|_| Err(format!("no answer on port {} within {} ms", probe.port, within.as_millis())))
}

async fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(at).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("nothing listens on port {}", at.port()),
        _ => format!("port {}: {error}", at.port()),
    })
}

async fn get(at: SocketAddr, path: &str, host: Option<&str>, good: fn(u16) -> bool) -> Result<(), String> {
    let socket = connect(at).await?;
    let broken = |error: hyper::Error| format!("GET {path} on port {}: {error}", at.port());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
            .await
            .map_err(broken)?;
    let host = host.map_or_else(|| at.to_string(), str::to_owned);
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "agent-probe")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let mut response = std::pin::pin!(sender.send_request(request));
    // The connection is driven beside the request and dropped with it: nothing is left behind. It may end first,
    // with the answer already read.
    let response = tokio::select! {
        response = &mut response => response,
        _ = connection => response.await,
    };
    let response = response.map_err(broken)?;
    let status = response.status().as_u16();
    if good(status) { Ok(()) } else { Err(format!("GET {path} on port {} answers {status}", at.port())) }
}
