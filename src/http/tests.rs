//! The server and the body limits on real sockets. Limits are short so that reaching them is quick; that one
//! is reached at all is what is asserted, never how fast.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

const HANG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
const GET_ONCE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
    Server { address, stop, task }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// Answers with the length of the body, at most `limit` bytes.
fn measuring(limit: usize, within: Duration) -> Router {
    let body = Arc::new(RawBody::new(limit, within));
    let measure = move |request: Request| {
        let body = Arc::clone(&body);
        async move {
            match body.read(request).await {
                Ok((_, bytes)) => format!("{} bytes", bytes.len()).into_response(),
                Err(refusal) => refusal.into_response(),
            }
        }
    };
    Router::new().route("/", post(measure))
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(HANG, self.task).await.expect("the server does not end").unwrap();
    }
}

/// Sends, then reads until the other side closes.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(stream).await
}

async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let _ = timeout(HANG, stream.read_to_end(&mut answer)).await.expect("the connection stays open");
    String::from_utf8(answer).unwrap()
}

/// Reads one answer and leaves the connection open.
async fn one(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let length = timeout(HANG, stream.read(&mut answer)).await.expect("no answer").unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

fn with_length(length: usize, extra: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{extra}\r\n")
}

#[tokio::test]
async fn silent_slow_and_idle_connections_are_closed() {
    let server = start(hello(), Limits { headers_within: SHORT, ..Limits::default() }).await;
    assert_eq!(rest(server.connect().await).await, "", "silent from the start");
    assert_eq!(exchange(server.connect().await, "GET / HT").await, "", "in the middle of the headers");
    let idle = exchange(server.connect().await, GET).await;
    assert!(idle.ends_with("hello"), "answered, kept alive, then closed: {idle}");
    server.end().await;
}

#[tokio::test]
async fn further_connections_wait_until_one_ends() {
    let server = start(hello(), Limits { connections: 2, ..Limits::default() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for stream in [&mut first, &mut second] {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(one(stream).await.ends_with("hello"));
    }
    let mut third = server.connect().await;
    third.write_all(GET.as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    assert!(timeout(SHORT, third.read(&mut byte)).await.is_err(), "served beyond the cap");
    drop(first);
    assert!(one(&mut third).await.ends_with("hello"));
    server.end().await;
}

#[tokio::test]
async fn bodies_beyond_the_limit_get_413() {
    let server = start(measuring(1000, HANG), Limits::default()).await;
    let body = |length: usize| with_length(length, "") + &"x".repeat(length);
    assert!(exchange(server.connect().await, &body(1000)).await.ends_with("1000 bytes"));
    let refused = exchange(server.connect().await, &body(1001)).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    assert!(refused.ends_with("larger than the 1000 bytes this address takes\n"), "{refused}");

    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked =
        |chunks: usize| format!("{head}{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(chunks));
    assert!(exchange(server.connect().await, &chunked(10)).await.ends_with("1000 bytes"));
    assert!(exchange(server.connect().await, &chunked(11)).await.starts_with("HTTP/1.1 413 "));
    server.end().await;
}

#[tokio::test]
async fn whoever_asks_first_is_refused_before_sending() {
    let server = start(measuring(1000, HANG), Limits::default()).await;
    let asking = with_length(5000, "Expect: 100-continue\r\n");
    assert!(exchange(server.connect().await, &asking).await.starts_with("HTTP/1.1 413 "));
    server.end().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_gets_408() {
    let server = start(measuring(1000, SHORT), Limits::default()).await;
    let refused = exchange(server.connect().await, &(with_length(900, "") + "half")).await;
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
    let refused = exchange(server.connect().await, &(with_length(9000, "") + "half")).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "too large as well: {refused}");
    server.end().await;
}

#[tokio::test]
async fn a_crowd_of_large_bodies_is_held_off_and_small_ones_pass() {
    let server = start(measuring(1 << 20, SHORT), Limits::default()).await;
    let large = with_length(1 << 20, "") + "half";
    let small = with_length(5, "") + "small";
    let crowd =
        futures_util::future::join_all((0..8).map(async |_| exchange(server.connect().await, &large).await));
    let (crowd, passed) = tokio::join!(crowd, async { exchange(server.connect().await, &small).await });
    assert!(passed.ends_with("5 bytes"), "{passed}");
    let count = |code: &str| crowd.iter().filter(|answer| answer.starts_with(code)).count();
    assert_eq!((count("HTTP/1.1 408 "), count("HTTP/1.1 429 ")), (4, 4), "{crowd:?}");
    server.end().await;
}

#[tokio::test]
async fn too_many_requests_get_429_and_when_to_come_back() {
    let rate = Rate { per_second: 0.01, burst: 2, ..Rate::default() };
    let server = start(rate.limit(hello()), Limits::default()).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        assert!(exchange(server.connect().await, request).await.ends_with("hello"));
    }
    let refused = exchange(server.connect().await, request).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("retry-after: 100\r\n") || refused.contains("retry-after: 99\r\n"), "{refused}");
    server.end().await;
}

#[tokio::test]
async fn on_a_unix_socket_the_proxy_names_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let rate = Rate { per_second: 0.01, burst: 1, ..Rate::default() };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, rate.limit(hello()), Limits::default(), stop.clone()));
    let from = async |client: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n");
        exchange(UnixStream::connect(&path).await.unwrap(), &request).await
    };
    assert!(from("192.0.2.1").await.ends_with("hello"));
    assert!(from("192.0.2.1").await.starts_with("HTTP/1.1 429 "));
    assert!(from("192.0.2.2").await.ends_with("hello"));
    stop.cancel();
    timeout(HANG, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_refuses_new_ones() {
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
        move || async move {
            begun.add_permits(1);
            let _ = gate.acquire().await;
            "finished"
        }
    };
    let limits = Limits { drain: HANG, ..Limits::default() };
    let server = start(Router::new().route("/", get(handler)), limits).await;
    let under_way = tokio::spawn(exchange(server.connect().await, GET));
    let idle = server.connect().await;
    let _ = begun.acquire().await.unwrap();
    server.stop.cancel();
    assert_eq!(rest(idle).await, "", "idle connections are closed");
    assert!(TcpStream::connect(server.address).await.is_err(), "still listening");
    gate.add_permits(1);
    assert!(under_way.await.unwrap().ends_with("finished"));
    server.end().await;
}

/// As at a reload: whoever was let in is answered, though the first byte comes after the stop.
#[tokio::test]
async fn a_stop_answers_who_was_let_in_and_has_not_spoken_yet() {
    let server = start(hello(), Limits::default()).await;
    let mut early = server.connect().await;
    // Accepted in their order.
    assert!(exchange(server.connect().await, GET_ONCE).await.ends_with("hello"));
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    early.write_all(GET.as_bytes()).await.unwrap();
    let answer = rest(early).await;
    assert!(answer.ends_with("hello") && answer.contains("connection: close"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_head_that_does_not_end() {
    let limits = Limits { headers_within: HANG, drain: HANG, ..Limits::default() };
    let server = start(measuring(1000, HANG), limits).await;
    let (mut first, mut again, mut sending) =
        (server.connect().await, server.connect().await, server.connect().await);
    first.write_all(b"POST / HTTP/1.1\r\nHo").await.unwrap();
    again.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert!(one(&mut again).await.ends_with("0 bytes"));
    again.write_all(b"POST / HTTP/1.1\r\nHo").await.unwrap();
    sending.write_all((with_length(2, "") + "1").as_bytes()).await.unwrap();
    tokio::time::sleep(SHORT).await;
    server.stop.cancel();
    let halves = async { (rest(first).await, rest(again).await) };
    assert_eq!(timeout(HANG / 4, halves).await.expect("both are held open"), Default::default());
    tokio::time::sleep(SHORT).await;
    sending.write_all(b"2").await.unwrap();
    assert!(rest(sending).await.ends_with("2 bytes"), "a request under way is cut");
    server.end().await;
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_end_in_time() {
    let begun = Arc::new(Semaphore::new(0));
    let handler = {
        let begun = Arc::clone(&begun);
        move || async move {
            begun.add_permits(1);
            std::future::pending::<()>().await;
        }
    };
    let limits = Limits { drain: SHORT, ..Limits::default() };
    let server = start(Router::new().route("/", get(handler)), limits).await;
    let under_way = tokio::spawn(exchange(server.connect().await, GET));
    let _ = begun.acquire().await.unwrap();
    server.end().await;
    assert_eq!(under_way.await.unwrap(), "");
}
