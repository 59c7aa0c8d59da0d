//! What Stripe, and everybody else, hears at the door.

use futures_util::future::join_all;

use crate::app::App;
use crate::site::{LIVE_SECRET, OLD_SECRET, SECRET, Site, destination, event, signed, snapshot, thin};

const PATH: &str = "/webhooks/stripe";

#[tokio::test(flavor = "multi_thread")]
async fn signatures_good_and_bad_get_their_codes() {
    let site = Site::open(vec![]).await;
    let body = event("evt_1");
    let now = site.now();
    let by = |secret: &str, age: i64| signed(secret, body.as_bytes(), now - age);
    let right = by(SECRET, 0);
    let v1 = right.split_once(',').unwrap().1;
    let zeros = format!("v1={}", "0".repeat(64));
    let other = signed(SECRET, event("evt_2").as_bytes(), now);
    let good: &[&str] = &[
        &right,
        &by(OLD_SECRET, 0),
        &by(SECRET, 290),
        &by(SECRET, -290),
        &format!("t={now},{zeros},{v1}"),
        &format!("{right},{zeros},v0={}", "0".repeat(64)),
        &format!("v0=00,scheme=,{right}"),
    ];
    for signature in good {
        let answer = site.post_to(PATH, &[signature], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{signature}: {}", answer.text);
    }
    let bad: &[&[&str]] = &[
        &[],
        &[""],
        &["nonsense"],
        &[&right, &right],
        &[&format!("t={now},{zeros}"), &right],
        &[v1],
        &[&format!("t={now}")],
        &[&format!("t={now},{zeros}")],
        &[&right.replace("v1=", "v0=")],
        &[&right.replace("v1=", "v1=0")],
        &[&format!("{right},t={now}")],
        &[&format!("{},{v1}", right.replace("t=", "t=0"))],
        &[&format!("{right},v1")],
        &["t=ünïcödé,v1=00"],
        &[&by("whsec_else", 0)],
        &[&by("", 0)],
        &[&by("whsec_connect", 0)],
        &[&by(SECRET, 310)],
        &[&by(SECRET, -310)],
        &[&by(SECRET, now)],
        &[&signed(SECRET, body.as_bytes(), i64::MAX)],
        &[&other],
        &[&format!("t={now}{}", ",v1=00".repeat(8000))],
    ];
    for signatures in bad {
        let answer = site.post_to(PATH, signatures, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{signatures:?}: {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
    }
    assert_eq!(site.count().await, 1, "whoever cannot sign leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_good_and_bad_get_their_codes() {
    let site = Site::open(vec![]).await;
    let deep = format!("{{\"id\":{}", "[".repeat(500_000));
    let filled = |bytes: usize| {
        let start = event("evt_large");
        let fill = " ".repeat(bytes - start.len());
        start + &fill
    };
    let mut live = snapshot("evt_live", "charge.succeeded", "ch_1");
    live["livemode"] = true.into();
    let (full, over) = (filled(1 << 20), filled((1 << 20) + 1));
    let (thin, live) = (thin("evt_thin", "v2.core.event_destination.ping"), live.to_string());
    let bom = [b"\xef\xbb\xbf", event("evt_bom").as_bytes()].concat();
    let cases: &[(u16, &[u8])] = &[
        (200, full.as_bytes()),
        (200, thin.as_bytes()),
        (200, b"{\"id\":\"evt_least\",\"object\":\"event\",\"type\":\"ping\"}"),
        (413, over.as_bytes()),
        (400, b""),
        (400, b"null"),
        (400, b"[]"),
        (400, b"{}"),
        (400, b"\"evt_1\""),
        (400, b"{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"a\"} x"),
        (400, b"{\"id\":\"evt_1\",\"object\":\"charge\",\"type\":\"a\"}"),
        (400, b"{\"id\":\"\",\"object\":\"event\",\"type\":\"a\"}"),
        (400, b"{\"id\":\"a\\r\\nX: y\",\"object\":\"event\",\"type\":\"a\"}"),
        (400, b"{\"id\":7,\"object\":\"event\",\"type\":\"a\"}"),
        (400, b"\xff\xfe\x00"),
        (400, &bom),
        (400, deep.as_bytes()),
        // Of live mode, under the secret of test mode.
        (400, live.as_bytes()),
    ];
    for (status, body) in cases {
        let answer = site.post_to(PATH, &[&signed(SECRET, body, site.now())], body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!(answer.status, *status, "{shown}: {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
    }
    for (secret, body, status) in
        [(LIVE_SECRET, &*live, 200), (OLD_SECRET, &live, 200), (LIVE_SECRET, &event("evt_1"), 400)]
    {
        let answer =
            site.post_to(PATH, &[&signed(secret, body.as_bytes(), site.now())], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    assert_eq!(site.count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_methods_and_no_http_are_refused() {
    let site = Site::open(vec![]).await;
    let head = |request: &str| format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (request, status) in [
        (head("GET /webhooks/stripe"), 405),
        (head("PUT /webhooks/stripe"), 405),
        (head("POST /webhooks/stripe/nobody"), 404),
        (head("POST /webhooks/stripe/a/b"), 404),
        (head("POST /webhooks/stripe/%00"), 404),
        (head("POST /stripe/simulate"), 404),
        (head("POST /stripe/resend"), 404),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let answer = site.raw(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_have_their_own_secrets_and_their_own_events() {
    let app = App::good().await;
    let mut platform = destination("platform", app.port);
    platform.endpoint = Some("connect".into());
    let site = Site::open(vec![platform]).await;
    let body = event("evt_1");
    let by = |secret| signed(secret, body.as_bytes(), site.now());
    let connect = "/webhooks/stripe/connect";
    assert_eq!(site.post_to(connect, &[&by(SECRET)], body.as_bytes()).await.status, 401);
    assert_eq!(site.post_to(connect, &[&by("whsec_connect")], body.as_bytes()).await.text, "kept\n");
    assert_eq!(
        site.post_to("/webhooks/stripe/default", &[&by(SECRET)], body.as_bytes()).await.text,
        "kept\n"
    );
    assert_eq!(site.count().await, 2, "one id at two endpoints is two events");
    let asked = app.until_asked(1).await;
    assert_eq!(asked[0].header("x-relay-endpoint"), Some("connect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_twins_one_is_kept_and_none_fails() {
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    let body = event("evt_twin");
    let answers = join_all((0..20).map(|_| site.post(&body))).await;
    let said = |text: &str| answers.iter().filter(|answer| answer.text == text).count();
    assert_eq!((said("kept\n"), said("kept already\n")), (1, 19), "{answers:?}");
    site.until_delivered("evt_twin", "books").await;
    let story = site.story("evt_twin").await;
    assert_eq!((story.event.repeats, story.attempts.len()), (19, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_507_and_taken_when_sent_again() {
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.limit_pages(1).await;
    let body = |n: usize| {
        let mut event = snapshot(&format!("evt_{n}"), "charge.succeeded", "ch_1");
        event["data"]["object"]["description"] = "x".repeat(2000).into();
        event.to_string()
    };
    let mut refused = None;
    for n in 0..2000 {
        let answer = site.post(&body(n)).await;
        if answer.status != 200 {
            assert_eq!(answer.status, 507, "{}", answer.text);
            assert!(answer.head.contains("retry-after: 60"), "{}", answer.head);
            refused = Some(n);
            break;
        }
    }
    let refused = refused.expect("the full disk was never noticed");
    site.limit_pages(1_000_000).await;
    site.keep(&body(refused)).await;
    for n in 0..=refused {
        site.until_delivered(&format!("evt_{n}"), "books").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_holds_what_it_may_refuses_until_there_is_room() {
    let site = Site::open(vec![]).await;
    site.keep(&event("evt_1")).await;
    site.configure(|setup| setup.keep.bytes = 1000);
    let answer = site.post(&event("evt_2")).await;
    assert_eq!(answer.status, 507, "{}", answer.text);
    assert!(answer.text.starts_with("the store holds as much as it may"), "{}", answer.text);
    site.configure(|setup| setup.keep.bytes = 1 << 30);
    site.keep(&event("evt_2")).await;
}

/// Stripe sends again what was not taken; a refusal would tell whoever looks at its Dashboard of a wrong secret.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_secrets_cannot_be_read_asks_to_be_tried_again() {
    let site = Site::open(vec![]).await;
    site.configure(|setup| setup.endpoints[0].secrets.clear());
    let answer = site.post(&event("evt_1")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.head.contains("retry-after: 60"), "{}", answer.head);
    assert!(answer.text.starts_with("no secret of this endpoint can be read"), "{}", answer.text);
}
