//! Push webhooks from outside: a real server on a real socket. GitHub's with payloads from its collection of examples
//! and signatures by its own library (`tests/webhook/setup` fetches both), the other forges' in `webhook/forges.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "webhook/forges.rs"]
mod forges;
#[path = "webhook/github.rs"]
mod github;
#[path = "webhook/site.rs"]
mod site;

use std::time::Duration;

use agent::trigger::Reason;
use futures_util::future::join_all;
use github::{OLD_SECRET, SECRET, examples, form, push, sign, signed_with};
use serde_json::json;
use site::{Answer, Site, post, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far above what anything here takes: only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_github_gets_a_good_answer() {
    let site = Site::open().await;
    let examples = examples();
    assert!(examples.len() >= 329, "only {} examples", examples.len());
    let bodies: Vec<&str> = examples.iter().map(|example| &*example.body).collect();
    let signatures = sign(SECRET, &bodies);
    let mut accepted = 0;
    for (n, (example, signature)) in examples.iter().zip(&signatures).enumerate() {
        let Answer { status, text, .. } =
            post(&site, &example.event, &n.to_string(), signature, &example.body).await;
        let (expected, beginning) = match &*example.event {
            "ping" => (200, "pong"),
            "push" if example.body.contains("refs/heads/master") => (202, "accepted: "),
            "push" => (200, "ignored: tag `simple-tag` is not a branch"),
            _ => (200, "ignored: event `"),
        };
        assert_eq!(status, expected, "{} {n}: {text}", example.event);
        assert!(text.starts_with(beginning), "{} {n}: {text}", example.event);
        assert_eq!(text.lines().count(), 1, "{text}");
        accepted += usize::from(status == 202);
    }
    assert!(accepted > 0, "no example moved the watched branch");
    assert!(site.wakes.pending().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_the_watched_branch_wakes_the_loop_and_names_the_delivery() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    let answer = post(&site, "push", "72d3162e", &signed_with(SECRET, &body), &body).await;
    assert_eq!((answer.status, &*answer.text), (202, "accepted: looking at `master`\n"));
    assert_eq!(site.wakes.next(|_| ()).await, Reason::Webhook { delivery: "72d3162e".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_in_a_form_is_signed_over_the_form() {
    let site = Site::open().await;
    let json = push("refs/heads/master");
    let body = form(&json);
    let as_form = async |id, signature: String| {
        send(&site, "POST", "application/x-www-form-urlencoded", "push", id, &[&signature], body.as_bytes())
            .await
    };
    assert_eq!(as_form("1", signed_with(SECRET, &json)).await.status, 401);
    assert_eq!(as_form("2", signed_with(SECRET, &body)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_absent_forged_repeated_or_malformed_is_refused() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    let right = signed_with(SECRET, &body);
    let upper = format!("sha256={}", right["sha256=".len()..].to_uppercase());
    let refused: &[&[&str]] = &[
        &[],
        &[""],
        &["sha256="],
        &["sha256=00"],
        &[&"0".repeat(64)],
        &[&format!("sha256={}", "0".repeat(64))],
        &[&right["sha256=".len()..]],
        &[&right.replace("sha256=", "sha1=")],
        &[&upper],
        &[&format!("{right}00")],
        &[&format!("{right},{right}")],
        &["sha256=ünïcödé"],
        &[&right, &right],
        &[&format!("sha256={}", "0".repeat(64)), &right],
        &[&signed_with("another secret", &body)],
        &[&signed_with(SECRET, &push("refs/heads/dev"))],
    ];
    for (n, signatures) in refused.iter().enumerate() {
        let answer =
            send(&site, "POST", "application/json", "push", &n.to_string(), signatures, body.as_bytes())
                .await;
        assert_eq!(answer.status, 401, "{signatures:?}: {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1);
    }
    assert!(site.wakes.pending().is_none(), "nobody who cannot sign wakes the loop");

    let mut changed = body.clone().into_bytes();
    let last = changed.len() - 1;
    changed[last] = b' ';
    assert_eq!(send(&site, "POST", "application/json", "push", "x", &[&right], &changed).await.status, 401);
    assert!(site.wakes.pending().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_secrets_change_both_are_accepted() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    assert_eq!(post(&site, "push", "1", &signed_with(OLD_SECRET, &body), &body).await.status, 202);
    assert_eq!(post(&site, "push", "2", &signed_with(SECRET, &body), &body).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_about_the_watched_branch_is_ignored_with_a_reason() {
    let site = Site::open().await;
    let mut elsewhere: serde_json::Value = serde_json::from_str(&push("refs/heads/master")).unwrap();
    elsewhere["repository"]["full_name"] = json!("mallory/hello-world");
    let mut deletion: serde_json::Value = serde_json::from_str(&push("refs/heads/master")).unwrap();
    deletion["deleted"] = json!(true);
    deletion["after"] = json!("0".repeat(40));
    deletion["head_commit"] = json!(null);
    deletion["commits"] = json!([]);
    for (n, (event, body, reason)) in [
        ("push", push("refs/heads/dev"), "ignored: branch `dev` is not deployed\n"),
        ("push", push("refs/heads/feature/master"), "ignored: branch `feature/master` is not deployed\n"),
        ("push", push("refs/tags/master"), "ignored: tag `master` is not a branch\n"),
        ("push", elsewhere.to_string(), "ignored: repository `mallory/hello-world` is not watched\n"),
        ("push", deletion.to_string(), "ignored: branch `master` was deleted\n"),
        ("push", push("refs/heads/a\r\nX-Bad: 1"), "ignored: branch `a\\r\\nX-Bad: 1` is not deployed\n"),
        ("workflow_run", push("refs/heads/master"), "ignored: event `workflow_run` moves no branch\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = post(&site, event, &n.to_string(), &signed_with(SECRET, &body), &body).await;
        assert_eq!((answer.status, &*answer.text), (200, reason));
    }
    assert!(site.wakes.pending().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_sent_again_is_known_also_after_a_restart() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    let signature = signed_with(SECRET, &body);
    assert_eq!(post(&site, "push", "again", &signature, &body).await.status, 202);
    site.wakes.next(|_| ()).await;
    for site in [&site.restart().await] {
        let answer = post(site, "push", "again", &signature, &body).await;
        assert_eq!((answer.status, &*answer.text), (200, "already seen: `again`\n"));
        assert!(site.wakes.pending().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_push_is_pending_after_a_restart() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    assert_eq!(post(&site, "push", "kept", &signed_with(SECRET, &body), &body).await.status, 202);
    let site = site.restart().await;
    assert_eq!(site.wakes.next(|_| ()).await, Reason::Webhook { delivery: "kept".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_twins_one_is_accepted_and_none_fails() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    let signature = signed_with(SECRET, &body);
    let answers = join_all((0..20).map(|_| post(&site, "push", "twin", &signature, &body))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(202), count(200)), (1, 19), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_thirty_pushes_is_at_most_two_turns() {
    let site = Site::open().await;
    let (answered, waiting) = tokio::sync::watch::channel(false);
    let wakes = site.wakes.clone();
    let turns = tokio::spawn(async move {
        let mut turns = Vec::new();
        loop {
            turns.push(wakes.next(|_| ()).await);
            // The first turn takes as long as the burst.
            let _ = waiting.clone().wait_for(|answered| *answered).await;
            if wakes.pending().is_none() {
                return turns;
            }
        }
    });
    let body = push("refs/heads/master");
    let signature = signed_with(SECRET, &body);
    let ids: Vec<String> = (0..30).map(|n| format!("burst-{n}")).collect();
    let answers = join_all(ids.iter().map(|id| post(&site, "push", id, &signature, &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
    answered.send(true).unwrap();
    let turns = timeout(HANG, turns).await.unwrap().unwrap();
    assert!(turns.len() <= 2, "{turns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pushes_pass_up_to_github_s_own_cap() {
    let site = Site::open().await;
    let mut large: serde_json::Value = serde_json::from_str(&push("refs/heads/master")).unwrap();
    let commit = json!({ "id": "0".repeat(40), "message": "m".repeat(1000), "modified": ["a/file"] });
    large["commits"] = vec![commit; 2800].into();
    let large = large.to_string();
    assert!(large.len() > 3_000_000);
    assert_eq!(post(&site, "push", "3", &signed_with(SECRET, &large), &large).await.status, 202);

    let mut largest = push("refs/heads/master");
    largest.push_str(&" ".repeat(25 * 1024 * 1024 - largest.len()));
    assert_eq!(post(&site, "push", "25", &signed_with(SECRET, &largest), &largest).await.status, 202);

    largest.push(' ');
    let signature = signed_with(SECRET, &largest);
    let answer = post(&site, "push", "26", &signature, &largest).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(answer.text.lines().count(), 1);
    let huge = vec![b' '; 26 * 1024 * 1024];
    assert_eq!(send(&site, "POST", "application/json", "push", "27", &[&signature], &huge).await.status, 413);
    assert_eq!(site.send_chunked(&huge).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_4xx_that_says_why() {
    let site = Site::open().await;
    let empty = signed_with(SECRET, "{}");
    for (content_type, event, id, body, expected) in [
        ("application/json", "push", "1", "{\"ref\":", 400),
        ("application/json", "push", "2", " ", 400),
        ("application/json", "push", "3", "[]", 400),
        ("application/json", "push", "4", "{}", 400),
        ("application/json", "ping", "5", "nonsense", 400),
        ("application/json", "star", "6", "\"text\"", 400),
        ("application/x-www-form-urlencoded", "push", "7", "{}", 400),
        ("text/plain", "push", "8", "{}", 415),
        ("", "push", "9", "{}", 415),
        ("application/jsonp", "push", "10", "{}", 415),
        ("application/json", "", "11", "{}", 400),
        ("application/json", "ping", "", "{}", 400),
    ] {
        let signature = if body == "{}" { empty.clone() } else { signed_with(SECRET, body) };
        let answer = send(&site, "POST", content_type, event, id, &[&signature], body.as_bytes()).await;
        assert_eq!(answer.status, expected, "{content_type} {event} {id} {body}: {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
    }
    let deep = format!("{{\"ref\":{}", "[".repeat(1_000_000));
    assert_eq!(post(&site, "push", "13", &signed_with(SECRET, &deep), &deep).await.status, 400);
    assert!(site.wakes.pending().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_addresses_are_refused() {
    let site = Site::open().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let answer = send(&site, method, "application/json", "ping", "1", &[], b"").await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.to_ascii_lowercase().contains("allow: post"), "{}", answer.head);
    }
    for (request, expected) in [
        ("POST /webhooks/elsewhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("POST /webhooks/github/../github HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("not http at all\r\n\r\n".to_owned(), 400),
        (format!("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000)), 431),
        ("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(), 400),
    ] {
        let answer = site.raw(request.as_bytes()).await;
        assert_eq!(answer.status, expected, "{}", &request[..request.len().min(80)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_cut_off_and_keep_nobody_waiting() {
    let site = Site::open().await;
    let dribble = async |head: &str| {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            tokio::select! {
                end = stream.read_to_end(&mut answer) => { let _ = end; break }
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    if stream.write_all(b"x").await.is_err() { break }
                }
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let in_headers = format!("{head}X-Slow: ");
    let in_body = format!("{head}Content-Length: 100000\r\n\r\n");
    let slow = async { tokio::join!(dribble(&in_headers), dribble(&in_body), dribble("")) };
    let body = push("refs/heads/master");
    let signature = signed_with(SECRET, &body);
    let quick = async {
        for n in 0..20 {
            assert_eq!(post(&site, "push", &n.to_string(), &signature, &body).await.status, 202);
        }
    };
    let ((in_headers, in_body, at_once), ()) =
        timeout(HANG, async { tokio::join!(slow, quick) }).await.expect("a slow sender was never cut off");
    assert!(!in_headers.contains(" 2"), "{in_headers}");
    assert!(in_body.starts_with("HTTP/1.1 408 "), "{in_body}");
    assert!(!at_once.contains(" 2"), "{at_once}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_cannot_be_kept_is_503_and_taken_when_sent_again() {
    let site = Site::open().await;
    let body = push("refs/heads/master");
    let signature = signed_with(SECRET, &body);
    site.limit_pages(1).await;
    let mut refused = None;
    for n in 0..2000 {
        let id = format!("{n}-{}", "x".repeat(90));
        match post(&site, "push", &id, &signature, &body).await.status {
            202 => {}
            503 => {
                refused = Some(id);
                break;
            }
            other => panic!("{other}"),
        }
    }
    let refused = refused.expect("the full disk was never noticed");
    site.limit_pages(1_000_000).await;
    assert_eq!(post(&site, "push", &refused, &signature, &body).await.status, 202);
}
