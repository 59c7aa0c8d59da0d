//! The agent's side: store, wakes and server as the daemon puts them together, and a client that can also
//! misbehave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::http::{Limits, Rate, Secret, serve};
use agent::model::forge::Forge;
use agent::store::{self, Store};
use agent::trigger::{self, PushHook, Wakes};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::github::{OLD_SECRET, SECRET};

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) wakes: Wakes,
    store: Store,
    folder: TempDir,
    stop: CancellationToken,
    server: JoinHandle<()>,
    slowest: Slowest,
}

/// How long the slowest answer of a test took, in microseconds. Told at its end, never judged: the server's own limits
/// are what must hold on a machine that does other things too.
#[derive(Default)]
struct Slowest(AtomicU64);

impl Drop for Slowest {
    fn drop(&mut self) {
        let micros = self.0.load(Ordering::Relaxed);
        if micros > 0 {
            eprintln!("slowest answer: {:.1} ms", micros as f64 / 1000.0);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap()).await
    }

    /// Ends it as the service manager would, and starts it again on the same state.
    pub(crate) async fn restart(self) -> Self {
        let Self { wakes, store, folder, stop, server, .. } = self;
        stop.cancel();
        server.await.unwrap();
        drop((wakes, store));
        Self::in_folder(folder).await
    }

    async fn in_folder(folder: TempDir) -> Self {
        let store = Store::open(&folder.path().join("agent.db"), trigger::MIGRATIONS).unwrap();
        let wakes = Wakes::open(store.clone(), "shop").await.unwrap();
        let secrets = [SECRET, OLD_SECRET].map(|text| Secret::new(text).unwrap());
        let repositories = vec!["acme/other".into(), "codertocat/HELLO-world".into()];
        let mut hooks = crate::forges::hooks();
        hooks.push(PushHook::new(Forge::GitHub, secrets.into(), repositories, "master").unwrap());
        let rate = Rate { per_second: 1000.0, burst: 1000, ..Rate::default() };
        let router = rate.limit(trigger::router(hooks, &wakes));
        let limits = Limits { headers_within: Duration::from_secs(2), ..Limits::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Self { address, wakes, store, folder, stop, server, slowest: Slowest::default() }
    }

    /// Lets the database grow to this many pages and no further, as a full disk would.
    pub(crate) async fn limit_pages(&self, pages: u32) {
        let limit = move |tx: &rusqlite::Connection| -> Result<(), store::Error> {
            Ok(tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
        };
        self.store.write(limit).await.unwrap();
    }

    /// A body of unannounced length.
    pub(crate) async fn send_chunked(&self, body: &[u8]) -> Answer {
        let mut request = b"POST /webhooks/github HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        for chunk in body.chunks(1 << 16) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        self.raw(&request).await
    }

    /// Sends these bytes and reads the answer until the connection closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let start = Instant::now();
        let (mut read, mut write) = TcpStream::connect(self.address).await.unwrap().into_split();
        let mut answer = Vec::new();
        let sending = async {
            // A server that refuses early may close before all is sent.
            let _ = write.write_all(request).await;
            write
        };
        let (_write, received) = tokio::join!(sending, read.read_to_end(&mut answer));
        if answer.is_empty() {
            received.unwrap();
        }
        self.slowest.0.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
        let answer = String::from_utf8(answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"));
        Answer { status, head: head.to_owned(), text: text.to_owned() }
    }
}

/// A JSON webhook as GitHub sends it.
pub(crate) async fn post(site: &Site, event: &str, id: &str, signature: &str, body: &str) -> Answer {
    send(site, "POST", "application/json", event, id, &[signature], body.as_bytes()).await
}

/// A webhook in every wrong way; an empty text leaves that header out.
pub(crate) async fn send(
    site: &Site,
    method: &str,
    content_type: &str,
    event: &str,
    id: &str,
    signatures: &[&str],
    body: &[u8],
) -> Answer {
    let mut request = format!(
        "{method} /webhooks/github HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in
        [("Content-Type", content_type), ("X-GitHub-Event", event), ("X-GitHub-Delivery", id)]
    {
        if !value.is_empty() {
            request += &format!("{name}: {value}\r\n");
        }
    }
    for signature in signatures {
        request += &format!("X-Hub-Signature-256: {signature}\r\n");
    }
    let mut request = request.into_bytes();
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    site.raw(&request).await
}
