//! How fast, and at what size. Measures and prints, asserts nothing about time:
//!
//!     cargo test --release --test stripe -- --ignored --nocapture how_
//!
//! `AGENT_TEST_EVENTS` sets how many events, `AGENT_TEST_KEPT` how many are kept already where that is the point.

// What is measured is for whoever reads it.
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent::http::{Limits, serve};
use agent::inbox::Filter;
use agent::store;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Manner, resetting};
use crate::site::{SECRET, Site, away, destination, here, machine, signed, snapshot};

fn asked(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// An event of 2.5 KB, the size of a checkout session.
fn body(n: usize) -> Bytes {
    let mut event = snapshot(&format!("evt_1QwErTy{n:012}"), "checkout.session.completed", "cs_1");
    event["data"]["object"]["metadata"] = "x".repeat(2000).into();
    format!("{event:#}").into()
}

async fn connect(to: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(connection: &mut SendRequest<Full<Bytes>>, n: usize) {
    let body = body(n);
    let request = Request::post("/webhooks/stripe")
        .header("host", "agent")
        .header("stripe-signature", signed(SECRET, &body, machine() / 1000))
        .body(Full::new(body))
        .unwrap();
    let answer = connection.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.unwrap();
}

/// Sends this many events over this many connections; tells what it was like.
async fn burst(what: &str, to: SocketAddr, connections: usize, events: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let senders = (0..connections).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut connection = connect(to).await;
            let mut waits = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= events {
                    return waits;
                }
                let begun = Instant::now();
                ask(&mut connection, n).await;
                waits.push(begun.elapsed());
            }
        })
    });
    let mut waits: Vec<Duration> = Vec::new();
    for sender in join_all(senders).await {
        waits.extend(sender.unwrap());
    }
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    println!("{what:<58} {rate:>8.0} events/s  {}", spread(&mut waits));
}

fn spread(waits: &mut [Duration]) -> String {
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    format!("p50 {:>8.2?}  p99 {:>8.2?}  worst {:>8.2?}", at(0.5), at(0.99), at(1.0))
}

/// The same server and the same signature, nothing kept.
async fn without_store() -> SocketAddr {
    async fn verify(headers: HeaderMap, body: Bytes) -> StatusCode {
        let sent = headers["stripe-signature"].to_str().unwrap();
        let at = sent[2..12].parse().unwrap();
        if signed(SECRET, &body, at) == sent { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/webhooks/stripe", post(verify));
    tokio::spawn(serve(listener, router, Limits::default(), CancellationToken::new()));
    address
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_fast_events_are_taken_and_delivered() {
    let events = asked("AGENT_TEST_EVENTS", 50_000);
    burst("verified and forgotten, 64 connections", without_store().await, 64, events).await;
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.place("books", away());
    burst("verified, on disk, answered, 64 connections", site.address, 64, events).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.place("books", away());
    burst("the same, 1 connection: a commit for each event", site.address, 1, events / 10).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    let begun = Instant::now();
    let before = app.asked().len();
    burst("the same while they are delivered, 64 connections", site.address, 64, events).await;
    until(&app, before + events).await;
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    println!("{:<58} {rate:>8.0} events/s", "… until the last one was at the app");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_soon_an_event_is_at_the_app() {
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    let mut connection = connect(site.address).await;
    let (mut answered, mut arrived) = (Vec::new(), Vec::new());
    for n in 0..1000 {
        let begun = Instant::now();
        ask(&mut connection, n).await;
        answered.push(begun.elapsed());
        while app.count() <= n {
            tokio::task::yield_now().await;
        }
        arrived.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{:<58} {}", "idle: sent to answered", spread(&mut answered));
    println!("{:<58} {}", "idle: sent to received by the app", spread(&mut arrived));
}

/// An hour of the agent's clock, at every step of which one more event comes in.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_soon_an_event_is_at_a_good_app_beside_bad_ones() {
    const STEPS: usize = 600;
    let (good, hanging, failing) =
        (App::good().await, App::start(Manner::Hang).await, App::start(Manner::Status(500)).await);
    let lure = App::good().await;
    let to = format!("http://127.0.0.1:{}/hook", lure.port);
    let redirecting = App::start(Manner::With(307, "location", to)).await;
    let site = Site::open(vec![
        destination("a-hangs", hanging.port),
        destination("b-fails", failing.port),
        destination("c-redirects", redirecting.port),
        destination("d-resets", resetting().await),
        destination("good", good.port),
    ])
    .await;
    let mut connection = connect(site.address).await;
    let mut arrived = Vec::new();
    for n in 0..STEPS {
        site.pass(3_600_000 / STEPS as i64);
        let begun = Instant::now();
        let body = body(n);
        let signature = signed(SECRET, &body, site.now());
        let request = Request::post("/webhooks/stripe").header("host", "agent");
        let request = request.header("stripe-signature", signature).body(Full::new(body)).unwrap();
        let answer = connection.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
        while good.count() <= n {
            tokio::task::yield_now().await;
        }
        arrived.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{:<58} {}", "beside four bad ones, an hour: sent to received", spread(&mut arrived));
    println!("  meanwhile asked: hangs {}, fails {}", hanging.count(), failing.count());
}

async fn until(app: &App, count: usize) {
    while app.count() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_much_a_million_events_cost() {
    let kept = asked("AGENT_TEST_KEPT", 1_000_000);
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.place("books", away());
    let text = String::from_utf8(body(0).to_vec()).unwrap();
    site.write(move |tx| -> Result<(), store::Error> {
        let now = machine();
        for n in 0..kept {
            tx.prepare_cached(
                "INSERT INTO inbox_events (endpoint, id, kind, thin, livemode, object, created, received, claimed,
                     simulated, content_type, signature, body)
                 VALUES ('default', ?1, 'checkout.session.completed', 0, 0, 'cs_1', 0, ?2, 1, 0, 'application/json',
                     't=1,v1=00', CAST(?3 AS BLOB))",
            )?
            .execute((format!("evt_kept{n:012}"), now, &text))?;
            let state = if n % 10 == 0 { "pending" } else { "delivered" };
            tx.prepare_cached(
                "INSERT INTO inbox_deliveries (event, destination, state, cause, due)
                 VALUES (?1, 'books', ?2, 'initial', ?3)",
            )?
            .execute((tx.last_insert_rowid(), state, now))?;
        }
        Ok(())
    })
    .await;
    println!("{kept} events kept, a tenth of them pending; {} MB resident", resident());
    let begun = Instant::now();
    let site = site.restart().await;
    println!("{:<58} {:>8.2?}", "stop and start", begun.elapsed());
    for (what, filter) in [
        ("the newest twenty", Filter { limit: 20, ..Filter::default() }),
        (
            "the oldest dead one, of none",
            Filter { state: Some(agent::inbox::State::Dead), limit: 20, ..Filter::default() },
        ),
        (
            "twenty of a type that is not there",
            Filter { kind: Some("invoice.*".into()), limit: 20, ..Filter::default() },
        ),
    ] {
        let begun = Instant::now();
        site.reader.events(filter).await.unwrap();
        println!("{what:<58} {:>8.2?}", begun.elapsed());
    }
    let begun = Instant::now();
    let backlog = site.reader.backlog().await.unwrap();
    println!("{:<58} {:>8.2?}", "what is left to do", begun.elapsed());
    burst("verified, on disk, answered, 64 connections", site.address, 64, 20_000).await;
    let begun = Instant::now();
    site.place("books", here());
    let pending = backlog[0].pending as usize + 20_000;
    until(&app, pending).await;
    println!(
        "{pending} delivered in {:.2?}; {} MB resident, the app's copies among them",
        begun.elapsed(),
        resident()
    );
}
