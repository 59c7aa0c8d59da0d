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
        ProbeKind::Http { path, host } => {
            let good = |status| (200..400).contains(&status);
            tokio::time::timeout(within, get(at, path, host.as_deref(), good)).await
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// As Django does with `ALLOWED_HOSTS`.
    async fn knows_only(host: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                let known = String::from_utf8(asked).unwrap().contains(&format!("host: {host}\r\n"));
                let status = if known { "200 OK" } else { "400 Bad Request" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn an_app_is_asked_for_a_host_that_it_knows() {
        let port = knows_only("shop.example.com").await;
        let probe = |host: Option<&str>| {
            let kind = ProbeKind::Http { path: "/healthz".into(), host: host.map(str::to_owned) };
            Probe { port, kind }
        };
        let within = Duration::from_secs(5);
        let asked = ask(&probe(Some("shop.example.com")), Ipv4Addr::LOCALHOST, within).await;
        assert_eq!(asked, Ok(()));
        let asked = ask(&probe(None), Ipv4Addr::LOCALHOST, within).await;
        assert_eq!(asked, Err(format!("GET /healthz on port {port} answers 400")));
    }

    #[test]
    fn a_probe_of_an_older_release_is_read() {
        let old = r#"{"port":8000,"kind":{"kind":"http","path":"/healthz"}}"#;
        let kind = ProbeKind::Http { path: "/healthz".into(), host: None };
        assert_eq!(serde_json::from_str::<Probe>(old).unwrap(), Probe { port: 8000, kind });
    }
}
