//! A server that plays tricks, and knows which.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    Answer,
    Version(&'static str),
    Status(u16),
    /// Hangs up without a word.
    Hang,
    /// Announces more than it sends.
    Half,
    /// Nobody is answered for so long.
    Stall(Duration),
}

#[derive(Default)]
struct Seen {
    done: Mutex<Vec<Trick>>,
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    seen: Arc<Seen>,
}

impl Server {
    /// Does to the n-th request what `trick` says.
    pub(crate) async fn start(trick: impl Fn(usize) -> Trick + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        let trick = Arc::new(tokio::sync::Mutex::new(trick));
        let server = Self { at, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, trick) = (Arc::clone(&seen), Arc::clone(&trick));
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some(body) = request(&mut stream).await {
                        seen.bytes.fetch_add(body, Ordering::Relaxed);
                        // Held while it stalls, so that the others wait too.
                        let trick = trick.lock().await;
                        let play = {
                            let mut done = seen.done.lock().unwrap();
                            let play = trick(done.len());
                            done.push(play);
                            play
                        };
                        if let Trick::Stall(time) = play {
                            tokio::time::sleep(time).await;
                        }
                        drop(trick);
                        if !answer(&mut stream, play).await {
                            break;
                        }
                    }
                });
            }
        });
        server
    }

    /// Waits for that many requests.
    pub(crate) async fn asked(&self, times: usize) {
        while self.seen.done.lock().unwrap().len() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn done(&self) -> Vec<Trick> {
        self.seen.done.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Of bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.bytes.load(Ordering::Relaxed)
    }
}

/// Reads one request; the length of its body.
async fn request(stream: &mut TcpStream) -> Option<usize> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(length)
}

/// Whether the connection goes on.
async fn answer(stream: &mut TcpStream, play: Trick) -> bool {
    let (status, version, length) = match play {
        Trick::Hang => return false,
        Trick::Half => (200, "half", 400),
        Trick::Status(status) => (status, "", 0),
        Trick::Version(version) => (200, version, version.len()),
        Trick::Answer | Trick::Stall(_) => (200, "fine", 4),
    };
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{version}");
    stream.write_all(text.as_bytes()).await.is_ok() && play != Trick::Half
}
