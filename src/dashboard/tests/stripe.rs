//! Stripe's events on the pages.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use tokio::sync::watch;

use super::{Browser, Shop};
use crate::cli::tests::story::{AT, Story};
use crate::http::Secret;
use crate::inbox::{Destination, Endpoint, Inbox, Setup, Signing, SigningSecret, Simulation};

/// A till that waits for its payments, and one that could not be brought three days long.
pub(super) async fn with_payments() -> (Browser, Vec<String>) {
    let story = Story::live().await;
    let secret = SigningSecret { secret: Secret::new("whsec_0123456789").unwrap(), livemode: None };
    let endpoint =
        Endpoint { name: "default".into(), secrets: vec![secret], tolerance: Duration::from_secs(300) };
    let till = Destination {
        name: "till".into(),
        service: "flask-soft".into(),
        endpoint: None,
        events: vec!["checkout.*".parse().unwrap()],
        path: "/webhook".into(),
        port: 8000,
        secrets: vec![Secret::new("whsec_till").unwrap()],
        concurrency: 1,
        timeout: Duration::from_secs(1),
        ordered: false,
        signing: Signing::Stripe,
        passthrough: false,
    };
    let setup = Setup { endpoints: vec![endpoint], destinations: vec![till], ..Setup::default() };
    let (setup, places) = (watch::Sender::new(Arc::new(setup)), watch::Sender::default());
    let inbox = Inbox::new(story.store.clone(), setup.subscribe(), places.subscribe(), Arc::new(|| AT));
    let asked = Simulation {
        endpoint: "default".into(),
        kind: "checkout.session.completed".into(),
        set: vec![("data.object.customer_details.email".into(), "eve@example.com".into())],
        times: 2,
        ..Simulation::default()
    };
    let made = inbox.simulate(&asked).await.unwrap();
    assert!(made.iter().all(|event| event.status == 200), "{made:?}");
    let ids: Vec<String> = made.into_iter().map(|event| event.id).collect();
    let dead = ids[0].clone();
    let dying = move |sql: &rusqlite::Connection| -> Result<(), crate::store::Error> {
        sql.execute(
            "UPDATE inbox_deliveries SET state = 'dead'
             WHERE event = (SELECT number FROM inbox_events WHERE id = ?1)",
            [dead],
        )?;
        Ok(())
    };
    story.store.write(dying).await.unwrap();
    let shop = Shop::with(story, Some(inbox)).await;
    (Browser::before(shop).sign_in().await, ids)
}

#[tokio::test]
async fn dead_letters_are_shown_without_what_they_hold_and_sent_again() {
    let (browser, ids) = with_payments().await;
    let home = browser.get("/").await.text;
    assert!(home.contains("1 waiting") && home.contains("1 dead") && home.contains("Dead letters"), "{home}");
    let page = browser.get(&format!("/stripe/{}", ids[0])).await;
    assert!(
        page.text.contains("till: dead") && page.text.contains("checkout.session.completed"),
        "{}",
        page.text
    );
    for text in [&home, &page.text] {
        assert!(!text.contains("eve@example.com") && !text.contains("whsec_"), "{text}");
    }

    let question = browser.get("/dead-letters").await;
    assert_eq!(browser.post("/dead-letters", "csrf=no").await.status, StatusCode::FORBIDDEN);
    let answer = browser.post("/dead-letters", &format!("csrf={}", question.csrf())).await;
    assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "./"));
    let home = browser.get("/").await.text;
    assert!(home.contains("sending again: 1 delivery"), "{home}");
    assert!(home.contains("2 waiting") && !home.contains("Dead letters"), "{home}");

    let path = format!("/stripe/{}/resend", ids[1]);
    let csrf = browser.get(&path).await.csrf().to_owned();
    assert_eq!(browser.post(&path, &format!("csrf={csrf}")).await.status, StatusCode::SEE_OTHER);
    let none = browser.post("/stripe/evt_none/resend", &format!("csrf={csrf}")).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}
