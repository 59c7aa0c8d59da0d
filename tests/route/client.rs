//! Plain HTTP requests, each on a connection of its own, and a client that never stops asking.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The answer with its whole body, or why there is none.
pub(crate) async fn send(
    address: Ipv4Addr,
    port: u16,
    request: Request<Full<Bytes>>,
) -> Result<Response<String>, String> {
    let answer = async {
        let stream = TcpStream::connect((address, port)).await.map_err(|e| format!("connect: {e}"))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| format!("send: {e}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("body: {e}"))?.to_bytes();
        connection.abort();
        Ok(Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
    };
    let bounded = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await;
    bounded.unwrap_or_else(|_| Err("no answer in 20 s".into()))
}

pub(crate) async fn get(
    address: Ipv4Addr,
    port: u16,
    host: &str,
    path: &str,
) -> Result<Response<String>, String> {
    let request = Request::get(path).header("host", host).header("connection", "close");
    send(address, port, request.body(Full::default()).unwrap()).await
}

pub(crate) async fn status(address: Ipv4Addr, port: u16, host: &str, path: &str) -> Result<u16, String> {
    Ok(get(address, port, host, path).await?.status().as_u16())
}

/// Several clients that ask for a path without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    pub(crate) fn on(address: Ipv4Addr, path: &'static str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (stop, answered) = (stop.clone(), answered.clone());
            clients.spawn(async move {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match status(address, 80, "x", path).await {
                        Ok(200) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        other => lost.push(format!("{other:?}")),
                    }
                }
                lost
            });
        }
        Self { stop, answered, clients }
    }

    /// On connections that are kept as long as the server allows, with pauses; a request on one that turns out to
    /// be closed is not sent again.
    pub(crate) fn kept_on(address: Ipv4Addr, path: &'static str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for n in 0..8 {
            let (stop, answered) = (stop.clone(), answered.clone());
            clients.spawn(async move {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    lost.extend(on_one_connection(address, path, &stop, &answered, n).await.err());
                }
                lost
            });
        }
        Self { stop, answered, clients }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for that many more answers.
    pub(crate) async fn goes_on_for(&self, more: usize) {
        let goal = self.answered() + more;
        while self.answered() < goal {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// What was not answered with 200.
    pub(crate) async fn lost(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// Asks in plain bytes, as a library would that does not look whether the other side has hung up.
async fn on_one_connection(
    address: Ipv4Addr,
    path: &str,
    stop: &AtomicBool,
    answered: &AtomicUsize,
    pause: u64,
) -> Result<(), String> {
    let mut stream = TcpStream::connect((address, 80)).await.map_err(|e| format!("connect: {e}"))?;
    while !stop.load(Ordering::Relaxed) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| format!("write: {e}"))?;
        let mut answer = Vec::new();
        while !answer.ends_with(END) {
            let read = stream.read_buf(&mut answer).await.map_err(|e| format!("read: {e}"))?;
            if read == 0 {
                return Err(format!("cut off after {} bytes", answer.len()));
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(answer.into_owned());
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.contains("Connection: close") {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(3 + 5 * pause)).await;
    }
    Ok(())
}

/// With what the pages end that are asked for in this way.
const END: &[u8] = b"(end)\n";
