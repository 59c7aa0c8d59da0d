//! What the buttons do, and for whom they do nothing.

use axum::http::{StatusCode, header};

use super::Browser;
use crate::cli::tests::story::Story;
use crate::model::run::ReleaseId;
use crate::record::{Degraded, Target};

#[tokio::test]
async fn an_order_without_the_sessions_own_proof_does_nothing() {
    let browser = Browser::signed_in(Story::live().await).await;
    let path = "/releases/1/rollback";
    let csrf = browser.get(path).await.csrf().to_owned();
    for body in ["", "csrf=", "csrf=0123", &format!("csrf={}", csrf.to_uppercase())] {
        assert_eq!(browser.post(path, body).await.status, StatusCode::FORBIDDEN, "{body}");
    }
    for site in ["cross-site", "same-site"] {
        let headers = [("sec-fetch-site", site)];
        let answer = browser.ask("POST", path, &headers, &format!("csrf={csrf}")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{site}");
    }
    assert_eq!(browser.get(path).await.status, StatusCode::OK, "asking is not doing");
    assert_eq!(browser.target().await, Target::Branch);
    assert!(browser.shop.wakes.pending().is_none());
}

#[tokio::test]
async fn going_back_is_the_order_that_the_command_line_gives() {
    let browser = Browser::signed_in(Story::live().await).await;
    let path = "/releases/1/rollback";
    let question = browser.get(path).await;
    assert!(question.text.contains("Go back to release 1?"), "{}", question.text);
    let answer = browser.post(path, &format!("csrf={}&hold=yes", question.csrf())).await;
    assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "../../"));
    let Target::Pinned(hold) = browser.target().await else { panic!("nothing is pinned") };
    assert_eq!((hold.release, hold.hold), (ReleaseId(1), true));
    assert!(browser.shop.wakes.pending().is_some());
    let said = "going back to release 1";
    assert!(browser.get("/").await.text.contains(said));
    assert!(!browser.get("/").await.text.contains(said), "it is said once");

    let csrf = browser.get("/resume").await.csrf().to_owned();
    assert_eq!(browser.post("/resume", &format!("csrf={csrf}")).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.target().await, Target::Branch);
}

#[tokio::test]
async fn that_a_release_was_taken_back_is_said_before_a_person_goes_there() {
    let browser = Browser::signed_in(Story::good_again().await).await;
    for (id, is_said) in [(2, false), (3, true)] {
        let question = browser.get(&format!("/releases/{id}/rollback")).await;
        assert_eq!(question.text.contains("It was taken back before"), is_said, "{}", question.text);
    }
}

#[tokio::test]
async fn what_was_given_up_is_mended_and_the_tip_left_alone() {
    let browser = Browser::signed_in(Story::failed().await).await;
    let degraded = Degraded { since: 1, services: vec!["web".into()] };
    browser.shop.story.record.degrade(&degraded).await.unwrap();
    let question = browser.get("/retry").await;
    assert!(question.text.contains("web is mended again."), "{}", question.text);
    let answer = browser.post("/retry", &format!("csrf={}", question.csrf())).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.shop.story.record.degraded().await.unwrap(), None);
    assert_eq!(browser.shop.story.record.denials(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_not_offered() {
    let browser = Browser::signed_in(Story::live().await).await;
    for (path, said) in [
        ("/releases/2/rollback", "It is the release that runs."),
        ("/resume", "Nothing is held"),
        ("/retry", "The branch was never reached"),
    ] {
        let answer = browser.get(path).await;
        assert!(
            answer.text.contains(said) && !answer.text.contains("<form method=\"post\">"),
            "{}",
            answer.text
        );
    }
    let held = Browser::signed_in(Story::rolled_back().await).await;
    let answer = held.get("/retry").await;
    assert!(answer.text.contains("Release 1 is held. Resume first."), "{}", answer.text);
    assert!(!answer.text.contains("<form method=\"post\">"), "{}", answer.text);
    for path in ["/runs/99", "/releases/99/rollback"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let csrf = browser.get("/").await.csrf().to_owned();
    let answer = browser.post("/resume", &format!("csrf={csrf}")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("nothing is held"), "{}", answer.text);
}
