//! What people tell the wing, through its own door.

use std::time::Duration;

use agent::inbox::{
    Again, Discarded, Filter, Rotated, Scope, Seen, Simulated, Simulation, State, Which, kinds,
};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::app::{App, Asked, Manner};
use crate::library::BOTH;
use crate::site::{APP_SECRET, HOUR, Site, about, destination, event, here};

async fn order<T: DeserializeOwned>(site: &Site, what: &str, body: &impl Serialize) -> Result<T, String> {
    let router: Router = site.inbox.orders();
    let request = Request::post(format!("/stripe/{what}"))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    match status {
        StatusCode::OK => Ok(serde_json::from_slice(&bytes).unwrap()),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            Err(said["message"].as_str().unwrap().to_owned())
        }
        other => panic!("{other}: {}", String::from_utf8_lossy(&bytes)),
    }
}

async fn resend(site: &Site, which: Which, to: Option<&str>) -> Result<Again, String> {
    order(site, "resend", &Scope { which, destination: to.map(str::to_owned) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_a_range_or_all_that_is_dead_can_be_sent_again() {
    let (app, other) = (App::good().await, App::start(Manner::Status(410)).await);
    let mut none = destination("other", other.port);
    none.events = vec!["invoice.*".parse().unwrap()];
    let site = Site::open(vec![destination("books", app.port), none]).await;
    for n in 0..3 {
        site.keep(&about(&format!("evt_{n}"), "invoice.paid", "in_1")).await;
        site.until("evt_0", "other", |delivery| delivery.state == State::Dead).await;
        site.pass(1000);
    }
    site.keep(&event("evt_charge")).await;
    app.until_asked(4).await;
    for n in 0..3 {
        site.until(&format!("evt_{n}"), "other", |delivery| delivery.state == State::Dead).await;
    }
    other.behave(Manner::Status(200));

    let one = |id: &str| Which::One { id: id.to_owned() };
    assert_eq!(resend(&site, one("evt_1"), Some("books")).await, Ok(Again { events: 1, deliveries: 1 }));
    let again = app.until_asked(5).await.pop().unwrap();
    assert_eq!((again.id(), again.header("x-relay-trigger")), ("evt_1", Some("resend")));
    assert_eq!(again.header("x-relay-attempt"), Some("2"));

    assert_eq!(resend(&site, Which::Dead, Some("other")).await, Ok(Again { events: 3, deliveries: 3 }));
    for n in 0..3 {
        site.until_delivered(&format!("evt_{n}"), "other").await;
    }
    assert_eq!(resend(&site, Which::Dead, None).await, Ok(Again { events: 0, deliveries: 0 }));

    let begun = site.story("evt_1").await.event.received;
    let range = Which::Range { after: begun, before: None, kind: Some("invoice.*".into()) };
    assert_eq!(resend(&site, range, Some("books")).await, Ok(Again { events: 2, deliveries: 2 }));
    let asked = app.until_asked(7).await;
    assert_eq!(asked[6].header("x-relay-trigger"), Some("replay"));

    assert_eq!(
        resend(&site, one("evt_charge"), Some("other")).await,
        Ok(Again { events: 1, deliveries: 1 }),
        "whom a person names need not have asked"
    );
    site.until_delivered("evt_charge", "other").await;

    let unknown = resend(&site, one("evt_none"), None).await.unwrap_err();
    assert!(unknown.starts_with("there is no event `evt_none`"), "{unknown}");
    let unknown = resend(&site, Which::Dead, Some("boks")).await.unwrap_err();
    assert_eq!(unknown, "there is no destination `boks`; there are: books, other");
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_again_what_is_dead_brings_nothing_to_whoever_had_not_asked_then() {
    let (app, newcomer) = (App::start(Manner::Status(410)).await, App::good().await);
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_1")).await;
    site.until("evt_1", "books", |delivery| delivery.state == State::Dead).await;
    site.configure(|setup| setup.destinations.push(destination("newcomer", newcomer.port)));
    site.place("newcomer", here());
    app.behave(Manner::Status(200));
    assert_eq!(resend(&site, Which::Dead, None).await, Ok(Again { events: 1, deliveries: 1 }));
    site.until_delivered("evt_1", "books").await;
    assert_eq!(site.story("evt_1").await.event.deliveries.len(), 1);
    assert_eq!(newcomer.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_can_be_given_up() {
    let app = App::start(Manner::Status(410)).await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_1")).await;
    site.until("evt_1", "books", |delivery| delivery.state == State::Dead).await;
    let scope = Scope { which: Which::Dead, destination: None };
    assert_eq!(order(&site, "discard", &scope).await, Ok(Discarded { deliveries: 1 }));
    site.until("evt_1", "books", |delivery| delivery.state == State::Discarded).await;
    assert_eq!(site.reader.backlog().await.unwrap(), []);
    let dead = Filter { state: Some(State::Dead), limit: 10, ..Filter::default() };
    assert!(site.reader.events(dead).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_service_that_is_gone_can_be_given_up() {
    let app = App::start(Manner::Status(500)).await;
    let site = Site::open(vec![destination("books", app.port), destination("other", app.port)]).await;
    for id in ["evt_1", "evt_2"] {
        site.keep(&event(id)).await;
        site.until(id, "books", |delivery| delivery.attempts == 1).await;
    }
    site.configure(|setup| setup.destinations.retain(|known| known.name == "other"));
    let discard = async |which, to: &str| {
        let scope = Scope { which, destination: Some(to.to_owned()) };
        order::<Discarded>(&site, "discard", &scope).await
    };
    let one = || Which::One { id: "evt_1".into() };
    assert_eq!(discard(Which::Dead, "books").await, Ok(Discarded { deliveries: 0 }), "it may come back");
    assert_eq!(discard(one(), "books").await, Ok(Discarded { deliveries: 1 }));
    site.until("evt_1", "books", |delivery| delivery.state == State::Discarded).await;
    site.until("evt_1", "other", |delivery| delivery.state == State::Pending).await;
    site.until("evt_2", "books", |delivery| delivery.state == State::Pending).await;
    let unknown = discard(one(), "boks").await.unwrap_err();
    assert_eq!(unknown, "there is no destination `boks`; there are: other");
}

fn simulation(kind: &str) -> Simulation {
    Simulation { endpoint: "default".into(), kind: kind.into(), times: 1, ..Simulation::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_simulated_and_both_libraries_believe_it() {
    for library in BOTH {
        let mut app = library.app(APP_SECRET).await;
        let site = Site::open(vec![destination("books", app.port)]).await;
        for (n, kind) in kinds().into_iter().enumerate() {
            let asked = Simulation { thin: n % 3 == 2, ..simulation(kind) };
            let simulated: Vec<Simulated> = order(&site, "simulate", &asked).await.unwrap();
            assert_eq!((simulated[0].status, &*simulated[0].said), (200, "kept"), "{kind}");
            let said = app.next().await;
            assert_eq!(said["id"], simulated[0].id, "{library:?} {kind}");
            assert_eq!(said["trigger"], "simulated");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_can_be_made_wrong_late_and_many() {
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    let simulate = async |asked: &Simulation| order::<Vec<Simulated>>(&site, "simulate", asked).await;

    let bad = Simulation { bad_signature: true, ..simulation("invoice.paid") };
    assert_eq!(simulate(&bad).await.unwrap()[0].status, 401);
    let late = Simulation { age: 600, ..simulation("invoice.paid") };
    let late = simulate(&late).await.unwrap().remove(0);
    assert_eq!(late.status, 401);
    assert!(late.said.starts_with("signed 600 s ago"), "{}", late.said);
    assert_eq!(site.count().await, 0);

    let many = Simulation { times: 20, ..simulation("invoice.paid") };
    assert_eq!(simulate(&many).await.unwrap().len(), 20);
    app.until_asked(20).await;

    let own = Simulation { body: Some(event("evt_mine")), times: 3, ..simulation("") };
    let said: Vec<String> = simulate(&own).await.unwrap().into_iter().map(|one| one.said).collect();
    assert_eq!(said, ["kept", "kept already", "kept already"]);
    let asked = app.until_asked(21).await.pop().unwrap();
    assert_eq!(asked.body, event("evt_mine").as_bytes());

    let unknown = simulate(&simulation("invoice.payed")).await.unwrap_err();
    assert!(unknown.starts_with("no event of type `invoice.payed` can be made up"), "{unknown}");
    let nowhere = Simulation { endpoint: "elsewhere".into(), ..simulation("invoice.paid") };
    let nowhere = simulate(&nowhere).await.unwrap_err();
    assert_eq!(nowhere, "there is no endpoint `elsewhere`; there are: default, connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_up_under_an_id_swallows_no_real_event() {
    let (app, failing) = (App::good().await, App::start(Manner::Status(500)).await);
    let site = Site::open(vec![destination("books", app.port), destination("fails", failing.port)]).await;
    let made_up = Simulation { body: Some(event("evt_1")), ..simulation("") };
    order::<Vec<Simulated>>(&site, "simulate", &made_up).await.unwrap();
    site.until_delivered("evt_1", "books").await;
    site.until("evt_1", "fails", |delivery| delivery.attempts == 1).await;

    let real = event("evt_1").replace("2000", "4200");
    assert_eq!(site.post(&real).await.text, "kept\n");
    let asked = app.until_asked(2).await.pop().unwrap();
    assert_eq!((asked.header("x-relay-trigger"), &*asked.body), (Some("initial"), real.as_bytes()));
    site.until_delivered("evt_1", "books").await;
    let story = site.story("evt_1").await;
    assert_eq!((story.event.simulated, story.event.repeats, story.body), (false, 0, real.clone()));
    assert_eq!(site.post(&real).await.text, "kept already\n");

    // Of what was made up nothing is tried any more.
    failing.until_asked(2).await;
    failing.behave(Manner::Status(200));
    site.pass(HOUR);
    site.until_delivered("evt_1", "fails").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let made_up = |asked: &&Asked| asked.header("x-relay-trigger") == Some("simulated");
    assert_eq!(failing.asked().iter().filter(made_up).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_secrets_that_the_agent_made_can_be_rotated() {
    let site = Site::open(vec![destination("books", 1)]).await;
    let mut rotations = site.inbox.rotations();
    let asked = Rotated { destination: "books".into() };
    let refused = order::<Rotated>(&site, "rotate", &asked).await.unwrap_err();
    assert!(refused.contains("a secret of its own in the configuration"), "{refused}");
    let first = site.inbox.secrets("books").await.unwrap();
    assert_eq!(order(&site, "rotate", &asked).await, Ok(asked));
    assert!(rotations.has_changed().unwrap());
    rotations.mark_unchanged();
    let both = site.inbox.secrets("books").await.unwrap();
    assert_eq!((both.len(), both[1].expose()), (2, first[0].expose()));
    assert!(both[0].expose().starts_with("whsec_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_can_be_followed() {
    let app = App::good().await;
    let site = Site::open(vec![destination("books", app.port)]).await;
    site.keep(&event("evt_before")).await;
    site.until_delivered("evt_before", "books").await;
    let (events, attempts) = site.reader.ends().await.unwrap();
    assert!(site.reader.since(events, attempts).await.unwrap().is_empty());
    site.keep(&event("evt_1")).await;
    site.until_delivered("evt_1", "books").await;
    let seen = site.reader.since(events, attempts).await.unwrap();
    let [Seen::Event(kept), Seen::Attempt(tried)] = &*seen else { panic!("{seen:?}") };
    assert_eq!((&*kept.id, &*tried.event, tried.status), ("evt_1", "evt_1", Some(200)));
    let of = |state| Filter { state: Some(state), limit: 10, ..Filter::default() };
    assert_eq!(site.reader.events(of(State::Delivered)).await.unwrap().len(), 2);
    assert_eq!(site.reader.events(of(State::Pending)).await.unwrap().len(), 0);
    let kind = |kind: &str| Filter { kind: Some(kind.into()), limit: 10, ..Filter::default() };
    assert_eq!(site.reader.events(kind("charge.*")).await.unwrap().len(), 2);
    assert_eq!(site.reader.events(kind("charge")).await.unwrap().len(), 0);
    let numbers = site.inbox.numbers().await.unwrap();
    assert_eq!(numbers.received["kept"], 2);
    assert_eq!(numbers.attempts["books"]["delivered"], 2);
}
