//! An open-loop client: requests begin at a fixed rate, whether or not earlier ones have been answered, and every
//! one of them is kept. A server that stalls is thus seen by all requests that should have been answered meanwhile.
//!
//! A request that fails is never sent again, and one on a kept connection goes out without a look whether the other
//! side has just hung up: what a careful library would hide is counted here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kept connection that rested for longer is not used again, as by most clients: any server may be closing it just
/// then, and nginx does so after five seconds when it has a new configuration.
const RESTED: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each request on a connection of its own; the name is looked up each time.
    New,
    /// On connections that are kept as long as the server keeps them, and used again before they have rested for long.
    Kept,
    /// A body of 64 KiB on a connection of its own.
    Post,
}

pub const BODY: usize = 64 * 1024;

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `name:port`
    pub at: String,
    /// With its leading slash.
    pub path: String,
    pub kind: Kind,
    /// Requests in a second.
    pub rate: u32,
}

/// One request. Times are from the client's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it should have begun, which is when its time begins.
    pub at: Duration,
    /// Until the last byte of the answer, or until it was known to be lost.
    pub took: Duration,
    /// Whether it went over a connection that had been used before.
    pub reused: bool,
    /// Status and body.
    pub answer: Result<(u16, String), String>,
}

/// Asks until it is told to stop, and waits for the last answers. `ended` sees each request when it ends.
pub async fn run(
    plan: Plan,
    stop: CancellationToken,
    ended: impl Fn(&Asked) + Send + Sync + 'static,
) -> Vec<Asked> {
    let (plan, ended) = (Arc::new(plan), Arc::new(ended));
    let idle = Arc::new(Idle::default());
    let start = Instant::now();
    let mut open = JoinSet::new();
    let mut all = Vec::new();
    for n in 0u32.. {
        let at = Duration::from_secs(1).mul_f64(f64::from(n) / f64::from(plan.rate));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep_until(start + at) => {}
        }
        let (plan, idle, ended) = (Arc::clone(&plan), Arc::clone(&idle), Arc::clone(&ended));
        open.spawn(async move {
            let mut reused = false;
            let answer = timeout(PATIENCE, ask(&plan, &idle, &mut reused)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs())));
            let asked = Asked { at, took: start.elapsed().saturating_sub(at), reused, answer };
            ended(&asked);
            asked
        });
        while let Some(done) = open.try_join_next() {
            all.extend(done);
        }
    }
    all.extend(open.join_all().await);
    all.sort_by_key(|asked| asked.at);
    all
}

type Sender = SendRequest<Full<Bytes>>;

/// Connections that wait for their next request.
#[derive(Default)]
struct Idle(Mutex<Vec<(Sender, Instant)>>);

impl Idle {
    fn take(&self) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended in the meantime, as any client sees.
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < RESTED);
        idle.pop().map(|(sender, _)| sender)
    }

    fn give(&self, sender: Sender) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((sender, Instant::now()));
    }
}

async fn ask(plan: &Plan, idle: &Idle, reused: &mut bool) -> Result<(u16, String), String> {
    let kept = (plan.kind == Kind::Kept).then(|| idle.take()).flatten();
    *reused = kept.is_some();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(&plan.at).await.map_err(|error| format!("connect: {error}"))?,
    };
    let (method, body) = match plan.kind {
        Kind::Post => (Method::POST, Bytes::from(vec![b'x'; BODY])),
        Kind::New | Kind::Kept => (Method::GET, Bytes::new()),
    };
    let mut request = Request::builder().method(method).uri(&plan.path).header(HOST, &plan.at);
    if plan.kind != Kind::Kept {
        request = request.header(CONNECTION, "close");
    }
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("send: {}", chain(&error)))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| format!("body: {}", chain(&error)))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    if plan.kind == Kind::Kept && sender.ready().await.is_ok() {
        idle.give(sender);
    }
    Ok((status, text))
}

async fn connect(at: &str) -> io::Result<Sender> {
    let address: SocketAddr = tokio::net::lookup_host(at)
        .await?
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // What goes wrong with it is told by the request that meets it.
    tokio::spawn(connection);
    Ok(sender)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
