//! The open-loop client, tried against a server that drops and delays on purpose: a client that overlooks what goes
//! wrong would prove nothing about the agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../benches/load/client.rs"]
mod client;
#[path = "../../benches/load/report.rs"]
mod report;
mod server;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use client::{Asked, BODY, Kind, Plan};
use report::report;
use server::{Server, Trick};

/// Asks a new server that many times.
async fn ask(
    kind: Kind,
    rate: u32,
    times: usize,
    trick: impl Fn(usize) -> Trick + Send + 'static,
) -> (Vec<Asked>, Server) {
    let server = Server::start(trick).await;
    let stop = CancellationToken::new();
    let plan = Plan { at: server.at.to_string(), path: "/".into(), kind, rate };
    let client = tokio::spawn(client::run(plan, stop.clone(), |_| ()));
    server.asked(times).await;
    stop.cancel();
    (client.await.unwrap(), server)
}

#[tokio::test]
async fn every_drop_is_counted() {
    let (all, server) = ask(Kind::New, 500, 200, |n| match n % 20 {
        7 => Trick::Hang,
        11 => Trick::Status(502),
        13 => Trick::Half,
        _ => Trick::Answer,
    })
    .await;
    let seen = report(&all, 200);
    let of = |reason: &str| {
        seen.reasons.iter().filter(|(said, _)| said.starts_with(reason)).map(|(_, n)| n).sum::<usize>()
    };
    let done = server.done();
    assert_eq!(seen.asked, done.len());
    let tricks = |wanted: Trick| done.iter().filter(|trick| **trick == wanted).count();
    assert!(tricks(Trick::Hang) >= 10);
    assert_eq!(
        (of("send: "), of("status 502"), of("body: ")),
        (tricks(Trick::Hang), tricks(Trick::Status(502)), tricks(Trick::Half))
    );
    assert_eq!(seen.failed, of(""));
}

#[tokio::test]
async fn a_server_that_nobody_hears_is_all_failures() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let stop = CancellationToken::new();
    let plan = Plan { at: at.to_string(), path: "/".into(), kind: Kind::New, rate: 100 };
    let client = tokio::spawn(client::run(plan, stop.clone(), |_| ()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    let seen = report(&client.await.unwrap(), 200);
    assert!(seen.asked > 5 && seen.failed == seen.asked, "{seen:?}");
    assert!(seen.reasons.keys().all(|reason| reason.starts_with("connect: ")), "{seen:?}");
}

/// A client that waited for each answer would have asked once in that time, and seen one slow request.
#[tokio::test]
async fn a_stall_is_felt_by_all_that_should_have_been_answered() {
    let stall = Duration::from_millis(1200);
    let (all, _) =
        ask(Kind::New, 100, 250, move |n| if n == 50 { Trick::Stall(stall) } else { Trick::Answer }).await;
    let seen = report(&all, 200);
    assert_eq!(seen.failed, 0);
    assert!(seen.gap >= 1100.0, "{seen:?}");
    assert!(seen.slow >= 10, "{seen:?}");
    assert!(seen.p99 >= 1000.0, "{seen:?}");
}

#[tokio::test]
async fn one_clean_change_is_one_flip() {
    let (all, _) = ask(Kind::New, 200, 60, |n| Trick::Version(if n >= 40 { "2" } else { "1" })).await;
    let seen = report(&all, 200);
    assert_eq!(seen.flips, 1, "{seen:?}");
    assert_eq!(seen.versions.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn every_answer_by_an_older_version_than_was_told_before_is_a_flip() {
    let two = |n| (20..=22).contains(&n) || n >= 40;
    let (all, _) = ask(Kind::New, 100, 60, move |n| Trick::Version(if two(n) { "2" } else { "1" })).await;
    let seen = report(&all, 200);
    assert!((10..=18).contains(&seen.flips), "{seen:?}");
}

#[tokio::test]
async fn connections_are_kept_and_one_that_is_cut_in_use_is_a_failure() {
    let (all, server) =
        ask(Kind::Kept, 100, 100, |n| if n == 60 { Trick::Hang } else { Trick::Answer }).await;
    let seen = report(&all, 200);
    assert_eq!(seen.failed, 1, "{seen:?}");
    assert!(seen.reused > 80, "{seen:?}");
    assert!(server.connections() < 20, "{}", server.connections());
}

#[tokio::test]
async fn a_post_brings_its_whole_body() {
    let (all, server) = ask(Kind::Post, 100, 20, |_| Trick::Answer).await;
    assert_eq!(report(&all, 200).failed, 0);
    assert_eq!(server.bytes(), all.len() * BODY);
}
