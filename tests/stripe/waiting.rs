//! What waits: for a service that is away, for one that is not known yet, for the next start of the agent.

use std::time::Duration;

use agent::inbox::State;

use crate::app::{App, Manner};
use crate::site::{HOUR, SECOND, Site, about, away, destination, event, here, machine};

#[tokio::test(flavor = "multi_thread")]
async fn while_a_service_is_away_events_wait_and_no_attempt_is_spent() {
    let (app, other) = (App::good().await, App::good().await);
    let site = Site::open(vec![destination("books", app.port), destination("other", other.port)]).await;
    site.place("books", away());
    for n in 0..200 {
        site.keep(&event(&format!("evt_{n}"))).await;
    }
    other.until_asked(200).await;
    site.pass(24 * HOUR);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(app.asked().len(), 0);
    let backlog = site.reader.backlog().await.unwrap();
    assert_eq!((&*backlog[0].destination, backlog[0].pending), ("books", 200));

    site.place("books", here());
    app.until_asked(200).await;
    for n in 0..200 {
        assert_eq!(site.until_delivered(&format!("evt_{n}"), "books").await.attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_gets_at_once_what_it_had_failed_to_take() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_1")).await;
    for attempts in 1..4 {
        let waiting = site.until("evt_1", "books", |delivery| delivery.attempts == attempts).await;
        if attempts < 3 {
            site.pass(waiting.due - site.now() * 1000);
        }
    }
    site.place("books", away());
    tokio::time::sleep(Duration::from_millis(50)).await;
    app.behave(Manner::Status(200));
    site.place("books", here());
    let delivered = site.until_delivered("evt_1", "books").await;
    assert_eq!(delivered.attempts, 4, "without a step of the clock, and counted on");
}

/// Every attempt takes the app down and every start brings it back, as with an event that no version of it can take.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_brings_its_app_down_is_not_tried_at_every_return_and_is_dead_in_the_end() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    let crash = async || {
        site.place("books", away());
        tokio::time::sleep(Duration::from_millis(30)).await;
        site.place("books", here());
        tokio::time::sleep(Duration::from_millis(60)).await;
    };
    site.keep(&event("evt_1")).await;
    app.until_asked(1).await;
    let begun = machine();
    for _ in 0..10 {
        crash().await;
    }
    // The first retry of the schedule is due after four to six seconds.
    let schedule = usize::from(machine() - begun > 4 * SECOND);
    assert!(app.count() <= 2 + schedule, "asked {} times", app.count());

    let begun = site.now();
    for _ in 0..60 {
        let delivery = site.until("evt_1", "books", |_| true).await;
        if delivery.state == State::Dead {
            let hours = (site.now() - begun) * SECOND / HOUR;
            assert!((50..=90).contains(&hours), "{hours} h");
            return;
        }
        crash().await;
        let delivery = site.until("evt_1", "books", |_| true).await;
        site.pass((delivery.due - site.now() * SECOND).max(0));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    panic!("tried for ever: {:#?}", site.story("evt_1").await.event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_puts_nothing_off() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.pass(30 * 24 * HOUR);
    site.keep(&event("evt_1")).await;
    site.until("evt_1", "books", |delivery| delivery.attempts == 1).await;
    app.behave(Manner::Status(200));
    site.pass(-30 * 24 * HOUR);
    site.until_delivered("evt_1", "books").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_service_that_stays_away_for_good_is_dead_after_three_days() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port), destination("other", app.port)]).await;
    site.keep(&event("evt_1")).await;
    site.until("evt_1", "books", |delivery| delivery.attempts == 1).await;
    let look = async || {
        site.configure(|_| {});
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    site.configure(|setup| setup.destinations.retain(|known| known.name == "other"));
    look().await;
    site.pass(71 * HOUR);
    look().await;
    site.until("evt_1", "books", |delivery| delivery.state == State::Pending).await;
    site.pass(2 * HOUR);
    look().await;
    site.until("evt_1", "books", |delivery| delivery.state == State::Dead).await;
    site.until("evt_1", "other", |delivery| delivery.state == State::Pending).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_outlives_the_agent() {
    let app = App::start(Manner::Status(503)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_tried")).await;
    site.until("evt_tried", "books", |delivery| delivery.attempts == 1).await;
    site.place("books", away());
    site.keep(&event("evt_waiting")).await;
    let site = site.restart().await;
    app.behave(Manner::Status(200));
    site.place("books", here());
    assert_eq!(site.until_delivered("evt_waiting", "books").await.attempts, 1);
    assert_eq!(site.until_delivered("evt_tried", "books").await.attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_wants_waits_three_days_for_somebody() {
    let app = App::good().await;
    let site = Site::open(vec![]).await;
    site.keep(&about("evt_old", "invoice.paid", "in_1")).await;
    site.pass(73 * HOUR);
    site.keep(&about("evt_young", "invoice.paid", "in_2")).await;
    site.keep(&about("evt_else", "charge.succeeded", "ch_1")).await;
    let mut books = destination("books", app.port);
    books.events = vec!["invoice.*".parse().unwrap()];
    site.place("books", here());
    site.configure(|setup| setup.destinations = vec![books]);
    site.until_delivered("evt_young", "books").await;
    assert_eq!(app.ids(), ["evt_young"]);
    assert_eq!(site.story("evt_old").await.event.deliveries.len(), 0);
    assert_eq!(site.story("evt_else").await.event.deliveries.len(), 0);
}

/// The agent answered for it before it knew whom to pass it to, as in the first moments of a start.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_anybody_could_take_it_is_delivered_where_events_pass_through_too() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![]).await;
    site.keep(&event("evt_1")).await;
    let mut books = destination("books", app.port);
    books.passthrough = true;
    site.place("books", here());
    site.configure(|setup| setup.destinations = vec![books]);
    let failed = site.until("evt_1", "books", |delivery| delivery.attempts == 1).await;
    app.behave(Manner::Status(200));
    site.pass(failed.due - site.now() * 1000);
    site.until_delivered("evt_1", "books").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_forgotten_in_its_time_and_nothing_else() {
    let (good, bad) = (App::good().await, App::start(Manner::Status(410)).await);
    let mut invoices = destination("invoices", bad.port);
    invoices.events = vec!["invoice.*".parse().unwrap()];
    let site = Site::open(vec![destination("books", good.port), invoices]).await;
    site.keep(&event("evt_done")).await;
    site.keep(&about("evt_dead", "invoice.paid", "in_1")).await;
    site.until_delivered("evt_done", "books").await;
    site.until_delivered("evt_dead", "books").await;
    site.until("evt_dead", "invoices", |delivery| delivery.state == State::Dead).await;
    site.pass(31 * 24 * HOUR);
    site.place("books", away());
    site.keep(&event("evt_young")).await;
    // Looking for what may go is among the first things of a start.
    let site = site.restart().await;
    while site.count().await == 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left: Vec<String> = site
        .reader
        .events(agent::inbox::Filter { limit: 10, ..Default::default() })
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.id)
        .collect();
    assert_eq!(left, ["evt_young", "evt_dead"]);
}
