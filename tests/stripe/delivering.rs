//! What apps are asked, how often and when, whatever they answer.

use std::time::{Duration, Instant};

use agent::inbox::{Destination, State};

use crate::app::{App, Manner, resetting};
use crate::site::{
    APP_SECRET, HOUR, MINUTE, SECOND, SECRET, Site, about, destination, event, here, machine, signed,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_the_body_byte_for_byte_and_each_header_once() {
    let app = App::good().await;
    let mut books = destination("books", app.port);
    books.path = "/pay/hook?from=stripe".into();
    let site = Site::open(vec![books]).await;
    let body = event("evt_1").replace("\n", "\r\n  ") + "\n\n";
    let signature = signed(SECRET, body.as_bytes(), site.now());
    let answer = site.post_to("/webhooks/stripe", &[&signature], body.as_bytes()).await;
    assert_eq!(answer.text, "kept\n");

    let asked = app.until_asked(1).await.remove(0);
    assert_eq!(asked.path, "/pay/hook?from=stripe");
    assert_eq!(asked.body, body.as_bytes());
    assert_eq!(asked.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(asked.header("host"), Some(&*format!("books:{}", app.port)));
    let own = asked.header("stripe-signature").unwrap();
    let at = own[2..own.find(',').unwrap()].parse().unwrap();
    assert_eq!(own, signed(APP_SECRET, body.as_bytes(), at), "signed by the agent, now");
    assert_eq!(asked.header("x-relay-original-stripe-signature"), Some(&*signature));
    assert_eq!(asked.header("x-relay-original-ip"), Some("127.0.0.1"));
    assert_eq!(asked.header("x-relay-endpoint"), Some("default"));
    assert_eq!(asked.header("x-relay-attempt"), Some("1"));
    assert_eq!(asked.header("x-relay-trigger"), Some("initial"), "what the sender claims counts for nothing");
    assert_eq!(asked.header("idempotency-key"), asked.header("x-relay-delivery-id"));

    site.until_delivered("evt_1", "books").await;
    let story = site.story("evt_1").await;
    let attempt = &story.attempts[0];
    assert_eq!((attempt.status, &*attempt.answer), (Some(200), "said\n"));
    assert_eq!(attempt.url, format!("http://127.0.0.1:{}/pay/hook?from=stripe", app.port));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_whoever_wants_them() {
    let (app, other) = (App::good().await, App::good().await);
    let mut checkout = destination("checkout", app.port);
    checkout.events = ["checkout.session.*", "invoice.paid"].map(|text| text.parse().unwrap()).into();
    let site = Site::open(vec![checkout, destination("all", other.port)]).await;
    let kinds = ["checkout.session.completed", "invoice.paid", "invoice.created", "checkout.other"];
    for kind in kinds {
        site.keep(&about(&format!("evt_{kind}"), kind, "in_1")).await;
    }
    other.until_asked(4).await;
    let mut ids = app.until_asked(2).await.iter().map(|asked| asked.id().to_owned()).collect::<Vec<_>>();
    ids.sort();
    assert_eq!(ids, ["evt_checkout.session.completed", "evt_invoice.paid"]);
}

/// The bad ones are asked first and all the time; the good one gets every event while none of them has answered.
#[tokio::test(flavor = "multi_thread")]
async fn bad_apps_delay_nobody() {
    let (good, hanging, failing) =
        (App::good().await, App::start(Manner::Hang).await, App::start(Manner::Status(500)).await);
    let lure = App::good().await;
    let to = format!("http://127.0.0.1:{}/hook", lure.port);
    let redirecting = App::start(Manner::With(307, "location", to)).await;
    let nobody = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port() };
    let mut hangs = destination("a-hangs", hanging.port);
    hangs.timeout = Duration::from_millis(500);
    let site = Site::open(vec![
        hangs,
        destination("b-fails", failing.port),
        destination("c-redirects", redirecting.port),
        destination("d-resets", resetting().await),
        destination("e-is-gone", nobody),
        destination("good", good.port),
    ])
    .await;
    let mut waits = Vec::new();
    for n in 0..40 {
        let begun = Instant::now();
        site.keep(&event(&format!("evt_{n}"))).await;
        good.until_asked(n + 1).await;
        waits.push(begun.elapsed());
    }
    waits.sort();
    println!("sent to received, median {:?}, worst {:?}", waits[20], waits[39]);
    for (name, status, trouble) in [
        ("a-hangs", None, "no answer within 0.5 s"),
        ("b-fails", Some(500), ""),
        ("c-redirects", Some(307), ""),
        ("d-resets", None, ""),
        ("e-is-gone", None, "Connection refused (os error 111)"),
    ] {
        let delivery = site.until("evt_0", name, |delivery| delivery.attempts > 0).await;
        assert_eq!(delivery.state, State::Pending, "{name} is tried again");
        let story = site.story("evt_0").await;
        let attempt = story.attempts.iter().find(|attempt| attempt.destination == name).unwrap();
        assert_eq!(attempt.status, status, "{name}");
        let told = attempt.trouble.as_deref().unwrap_or_default();
        assert!(
            if trouble.is_empty() { status.is_some() || !told.is_empty() } else { told == trouble },
            "{told}"
        );
    }
    assert_eq!(lure.asked().len(), 0, "redirects are not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_keep_to_the_number_allowed() {
    let app = App::start(Manner::Hang).await;
    let mut books = destination("books", app.port);
    books.concurrency = 3;
    books.timeout = Duration::from_secs(3600);
    let site = Site::open(vec![books]).await;
    for n in 0..10 {
        site.keep(&event(&format!("evt_{n}"))).await;
    }
    app.until_asked(3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(app.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_fails_for_an_hour_gets_everything_afterwards() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_1")).await;
    let mut attempts = 1;
    let begun = site.now();
    while site.now() < begun + 3600 {
        let waiting = site.until("evt_1", "books", |delivery| delivery.attempts == attempts).await;
        assert_eq!(waiting.state, State::Pending);
        // To the moment at which the next attempt is due.
        site.pass(waiting.due - site.now() * SECOND);
        attempts += 1;
    }
    // At 0 s, 5 s, 30 s, 2 min, 10 min, 30 min and 1 h.
    assert!((6..=9).contains(&attempts), "{attempts} attempts within the hour");
    app.behave(Manner::Status(200));
    let delivered = site
        .until("evt_1", "books", |delivery| {
            site.pass(MINUTE);
            delivery.state == State::Delivered
        })
        .await;
    let asked = app.asked();
    assert_eq!(asked.len(), delivered.attempts as usize);
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap()).collect();
    assert!(keys.windows(2).all(|two| two[0] == two[1]), "one delivery, one key");
    assert_eq!(asked[1].header("x-relay-trigger"), Some("retry"));
    let numbers: Vec<_> = asked.iter().map(|asked| asked.header("x-relay-attempt").unwrap()).collect();
    assert_eq!(numbers[..3], ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_three_days_a_delivery_is_dead_and_one_that_comes_again_revives_it() {
    let app = App::start(Manner::Status(404)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_1")).await;
    let begun = machine();
    let dead = site
        .until("evt_1", "books", |delivery| {
            if delivery.state == State::Pending {
                site.pass((delivery.due - site.now() * SECOND).max(0));
            }
            delivery.state == State::Dead
        })
        .await;
    let passed = site.now() * SECOND - begun;
    assert_eq!(dead.attempts, 16);
    assert!((60 * HOUR..85 * HOUR).contains(&passed), "{passed}");
    let last = app.asked().pop().unwrap();
    assert_eq!(last.header("x-relay-next-retry-at"), None);
    assert_eq!(site.reader.backlog().await.unwrap()[0].dead, 1);

    app.behave(Manner::Status(200));
    let answer = site.post(&event("evt_1")).await;
    assert_eq!(answer.text, "kept already\n", "seen is not delivered");
    site.until_delivered("evt_1", "books").await;
    site.keep(&event("evt_1")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(app.asked().len(), 17, "what is delivered is not delivered again");
    assert_eq!(site.reader.backlog().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_says_gone_is_not_asked_again_and_one_that_asks_for_time_gets_it() {
    let gone = App::start(Manner::Status(410)).await;
    let busy = App::start(Manner::With(429, "retry-after", "1800".into())).await;
    let site = Site::open(vec![destination("gone", gone.port), destination("busy", busy.port)]).await;
    site.keep(&event("evt_1")).await;
    let dead = site.until("evt_1", "gone", |delivery| delivery.state == State::Dead).await;
    assert_eq!(dead.attempts, 1);
    let waiting = site.until("evt_1", "busy", |delivery| delivery.attempts == 1).await;
    let wait = waiting.due - site.now() * SECOND;
    assert!((29 * MINUTE..=31 * MINUTE).contains(&wait), "{wait}");
}

fn ordered(port: u16) -> Destination {
    Destination { ordered: true, ..destination("books", port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_about_one_object_keep_their_order_where_asked() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![ordered(app.port)]).await;
    for n in 0..5 {
        site.keep(&about(&format!("evt_a{n}"), "charge.updated", "ch_a")).await;
    }
    site.keep(&about("evt_b0", "charge.updated", "ch_b")).await;
    site.until("evt_b0", "books", |delivery| delivery.attempts == 1).await;
    site.until("evt_a0", "books", |delivery| delivery.attempts == 1).await;
    let mut first = app.ids();
    first.sort();
    assert_eq!(first, ["evt_a0", "evt_b0"], "the later ones wait for the first");
    app.behave(Manner::Slow(Duration::from_millis(5)));
    site.pass(MINUTE);
    site.until_delivered("evt_a4", "books").await;
    let of_a: Vec<String> = app.ids()[2..].iter().filter(|id| id.starts_with("evt_a")).cloned().collect();
    assert_eq!(of_a, ["evt_a0", "evt_a1", "evt_a2", "evt_a3", "evt_a4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_through_answers_what_the_app_answers() {
    let app = App::start(Manner::Status(422)).await;
    let kept = App::good().await;
    let mut books = destination("books", app.port);
    books.passthrough = true;
    let site = Site::open(vec![books, destination("kept", kept.port)]).await;
    let answer = site.post(&event("evt_1")).await;
    assert_eq!((answer.status, &*answer.text), (422, "the app answers 422\n"));
    site.until_delivered("evt_1", "kept").await;
    assert_eq!(site.until("evt_1", "books", |_| true).await.attempts, 1);
    site.pass(HOUR);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(app.asked().len(), 1, "trying again is Stripe's part");

    app.behave(Manner::Status(202));
    assert_eq!(site.post(&event("evt_1")).await.status, 202);
    site.until_delivered("evt_1", "books").await;
    assert_eq!(site.post(&event("evt_1")).await.status, 200);
    assert_eq!((app.asked().len(), kept.asked().len()), (2, 1), "who has it is not asked again");

    site.place("books", crate::site::away());
    let answer = site.post(&event("evt_2")).await;
    assert_eq!((answer.status, &*answer.text), (503, "the app cannot be asked now: it is rolling\n"));
    assert!(answer.head.contains("retry-after"), "{}", answer.head);
    site.place("books", here());
    assert_eq!(site.post(&event("evt_2")).await.status, 202);
}
