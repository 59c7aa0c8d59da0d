//! What people read of Stripe's events.

use chrono::{DateTime, NaiveDateTime};

use super::super::time::Clock;
use super::{events, show, tail};
use crate::inbox::{Attempt, Backlog, Delivery, Event, Seen, State, Story};

const NOON: i64 = 1_795_348_800_000;
const MINUTE: i64 = 60_000;

fn utc(millis: i64) -> NaiveDateTime {
    DateTime::from_timestamp_millis(millis).unwrap().naive_utc()
}

fn clock() -> Clock {
    Clock { now: NOON, wall: utc }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn delivery(number: i64, destination: &str, state: State, attempts: u32, due: i64) -> Delivery {
    Delivery { number, destination: destination.into(), state, attempts, due }
}

fn event(id: &str, kind: &str, received: i64, deliveries: Vec<Delivery>) -> Event {
    Event {
        number: 1,
        endpoint: "default".into(),
        id: id.into(),
        kind: kind.into(),
        thin: false,
        livemode: Some(false),
        account: None,
        object: Some("cs_test_1".into()),
        created: Some(received),
        received,
        repeats: 0,
        simulated: false,
        deliveries,
    }
}

fn attempt(number: i64, at: i64, status: Option<u16>, trouble: Option<&str>, answer: &str) -> Attempt {
    Attempt {
        number,
        delivery: 1,
        destination: "shop".into(),
        event: "evt_1".into(),
        at,
        took: 12,
        url: "http://172.18.0.3:5000/webhook".into(),
        status,
        trouble: trouble.map(str::to_owned),
        answer: answer.into(),
    }
}

#[test]
fn a_list_says_who_has_what_and_what_is_left() {
    let listed = [
        event(
            "evt_3",
            "invoice.paid",
            NOON - MINUTE,
            vec![
                delivery(1, "books", State::Pending, 0, NOON),
                delivery(2, "shop", State::Delivered, 1, NOON),
            ],
        ),
        event("evt_2", "balance.available", NOON - 2 * MINUTE, vec![]),
        event(
            "evt_1",
            "checkout.session.completed",
            NOON - 50 * 60 * MINUTE,
            vec![delivery(3, "books", State::Dead, 16, NOON), delivery(4, "shop", State::Delivered, 3, NOON)],
        ),
    ];
    let backlog = [Backlog { destination: "books".into(), pending: 1, oldest: Some(NOON - MINUTE), dead: 1 }];
    let text = plain(&events::text(&listed, &backlog, &clock(), 100));
    insta::assert_snapshot!(text, @r"
    WHEN          TYPE                        EVENT  DELIVERIES
    11:59         invoice.paid                evt_3  books pending, shop
    11:58         balance.available           evt_2  nobody wants it
    20 Nov 10:00  checkout.session.completed  evt_1  books dead (16 attempts), shop (attempt 3)

    books: 1 pending, the oldest came 1 min ago; 1 dead (agent stripe resend --dead --to books)
    ");
    let text = plain(&events::text(&listed, &[], &clock(), 80));
    insta::assert_snapshot!(text, @r"
    WHEN          TYPE                        EVENT
    11:59         invoice.paid                evt_3
           books pending, shop
    11:58         balance.available           evt_2
           nobody wants it
    20 Nov 10:00  checkout.session.completed  evt_1
           books dead (16 attempts), shop (attempt 3)
    ");
    assert_eq!(events::text(&[], &[], &clock(), 100), "no event");
}

#[test]
fn a_story_tells_every_attempt_and_lets_no_text_rule_the_terminal() {
    let event = Event {
        repeats: 2,
        simulated: true,
        ..event(
            "evt_1",
            "checkout.session.completed",
            NOON - MINUTE,
            vec![delivery(1, "shop", State::Pending, 2, NOON + MINUTE)],
        )
    };
    let story = Story {
        event,
        attempts: vec![
            attempt(1, NOON - MINUTE, None, Some("Connection refused (os error 111)"), ""),
            attempt(2, NOON - MINUTE / 2, Some(500), None, "<h1>\u{1b}[31mOops</h1>\n\n <p>again</p>"),
        ],
        client: Some("3.18.12.63".into()),
        signature: "t=1,v1=00".into(),
        content_type: "application/json".into(),
        body: "{\n  \"id\": \"evt_1\",\u{7}\n  \"object\": \"event\"\n}".into(),
    };
    insta::assert_snapshot!(plain(&show::text(&story, &clock())), @r#"
    evt_1 checkout.session.completed
    came 11:59 to endpoint default, from 3.18.12.63, about cs_test_1, and again 2 times, simulated

    shop: pending, next attempt in 1 min
      22 Nov 11:59:00  Connection refused (os error 111)  12 ms  POST http://172.18.0.3:5000/webhook
      22 Nov 11:59:30  [500]  12 ms  POST http://172.18.0.3:5000/webhook
        <h1>Oops</h1> <p>again</p>

    {
      "id": "evt_1",
      "object": "event"
    }
    "#);
}

#[test]
fn what_happens_is_told_as_the_stripe_cli_does() {
    let connected = Event { account: Some("acct_1".into()), ..event("evt_2", "invoice.paid", NOON, vec![]) };
    let wanted = vec![delivery(1, "shop", State::Pending, 0, NOON)];
    let lines: Vec<String> = [
        Seen::Event(event("evt_1", "checkout.session.completed", NOON, wanted)),
        Seen::Attempt(attempt(1, NOON, Some(200), None, "")),
        Seen::Attempt(attempt(2, NOON, None, Some("no answer within 15 s"), "")),
        Seen::Event(connected),
    ]
    .iter()
    .map(|seen| tail::line(seen, &clock()))
    .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    2026-11-22 12:00:00   --> checkout.session.completed [evt_1]
    2026-11-22 12:00:00  <--  [200] POST http://172.18.0.3:5000/webhook [evt_1]
    2026-11-22 12:00:00            [ERROR] Failed to POST: http://172.18.0.3:5000/webhook: no answer within 15 s [evt_1]
    2026-11-22 12:00:00   --> connect invoice.paid [evt_2] (nobody wants it)
    ");
}
