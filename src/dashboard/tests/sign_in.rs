//! Who gets in, for how long, and who does not.

use axum::http::{StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::{Browser, PAGES, Shop, TOKEN};
use crate::cli::tests::story::Story;
use crate::dashboard::{DashboardError, router};
use crate::http::Peer;
use crate::record::Target;

#[tokio::test]
async fn strangers_are_shown_the_way_in_and_nothing_else() {
    let browser = Browser::stranger(Story::failed().await).await;
    for page in PAGES {
        let answer = browser.get(page).await;
        let to = answer.header(header::LOCATION);
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{page}");
        assert!(to.ends_with(&format!("sign-in?next={}", &page[1..])), "{page}: {to}");
        assert_eq!(answer.text, "", "{page}");
    }
    assert_eq!(browser.get("/changes").await.status, StatusCode::UNAUTHORIZED);
    for order in ["/resume", "/retry", "/releases/1/rollback", "/dead-letters", "/sign-out"] {
        assert_eq!(browser.post(order, "csrf=").await.status, StatusCode::UNAUTHORIZED, "{order}");
    }
    assert_eq!(browser.target().await, Target::Branch);
    assert!(browser.shop.wakes.pending().is_none());
}

#[tokio::test]
async fn the_token_opens_a_session_that_scripts_and_other_sites_do_not_get() {
    let browser = Browser::stranger(Story::live().await).await;
    let wrong = browser.post("/sign-in", "token=0123456789abcdef").await;
    assert_eq!((wrong.status, wrong.header(header::SET_COOKIE)), (StatusCode::FORBIDDEN, ""));
    assert!(wrong.text.contains("That is not the token."));

    let body = format!("token={TOKEN}&next=runs%2F2");
    let right = browser.post("/sign-in", &body).await;
    assert_eq!((right.status, right.header(header::LOCATION)), (StatusCode::SEE_OTHER, "runs/2"));
    let cookie = right.header(header::SET_COOKIE);
    assert!(cookie.starts_with("agent-shop=") && cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");

    // By an nginx that was told by what ends TLS in front of it.
    let https = [("sec-fetch-site", "same-origin"), ("x-forwarded-proto", "http, https")];
    let right = browser.ask("POST", "/sign-in", &https, &body).await;
    assert!(right.header(header::SET_COOKIE).ends_with("; Secure"));

    for next in ["", "//evil.example"] {
        let answer = browser.post("/sign-in", &format!("token={TOKEN}&next={next}")).await;
        assert_eq!(answer.header(header::LOCATION), "./", "{next}");
    }
}

#[tokio::test]
async fn who_comes_through_nginx_without_encryption_is_told_before_the_token_is_sent() {
    let mut browser = Browser::stranger(Story::live().await).await;
    let told = async |browser: &Browser, proto| {
        let answer = browser.ask("GET", "/sign-in", &[("x-forwarded-proto", proto)], "").await;
        answer.text.contains("This connection is not encrypted")
    };
    assert!(!told(&browser, "").await, "a tunnel to the port is the person's own");
    browser.peer = Peer::Local;
    assert!(told(&browser, "http, ").await);
    assert!(!told(&browser, "http, https").await);
    assert!(!told(&browser, "https, ").await && !told(&browser, "https").await);
}

#[tokio::test]
async fn guessing_from_one_address_keeps_nobody_else_out() {
    let mut browser = Browser::stranger(Story::live().await).await;
    browser.peer = Peer::Local;
    let from = async |client: &str, token: &str| {
        let headers = [("x-forwarded-for", client)];
        browser.ask("POST", "/sign-in", &headers, &format!("token={token}")).await.status
    };
    for n in 0..6 {
        // Whatever a client says of itself, nginx has the last word.
        let status = from(&format!("192.0.2.{n}, 203.0.113.7"), "guess").await;
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, n == 5, "{n}");
    }
    assert_eq!(from("203.0.113.8", TOKEN).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn tokens_cannot_be_tried_one_after_the_other() {
    let browser = Browser::stranger(Story::live().await).await;
    for _ in 0..5 {
        assert_eq!(browser.post("/sign-in", "token=guess").await.status, StatusCode::FORBIDDEN);
    }
    let answer = browser.post("/sign-in", &format!("token={TOKEN}")).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(browser.get("/sign-in").await.status, StatusCode::OK, "reading the form is no try");
}

#[tokio::test]
async fn strangers_do_not_use_up_what_an_open_session_may_ask() {
    // All by one address, as behind what ends TLS.
    let mut browser = Browser::signed_in(Story::live().await).await;
    browser.peer = Peer::Local;
    let mut stranger = browser.clone();
    stranger.cookie = "agent-shop=made-up".to_owned();
    let mut asked = 0;
    while stranger.get("/sign-in").await.status != StatusCode::TOO_MANY_REQUESTS {
        asked += 1;
        assert!(asked < 1000, "there is no end to it");
    }
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_new_token_ends_the_sessions_of_the_old_one() {
    let browser = Browser::signed_in(Story::live().await).await;
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    std::fs::write(browser.shop.folder.path().join("token"), "another token, as long").unwrap();
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere() {
    let browser = Browser::signed_in(Story::live().await).await;
    let csrf = browser.get("/").await.csrf().to_owned();
    let answer = browser.post("/sign-out", &format!("csrf={csrf}")).await;
    assert!(answer.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER, "the cookie is worth nothing any more");
}

#[tokio::test]
async fn a_link_from_another_site_finds_its_session_again() {
    let browser = Browser::stranger(Story::live().await).await;
    // The browser withholds the cookie from a click on another site, and brings it when our own page goes on.
    let from_outside = [("sec-fetch-site", "cross-site")];
    let answer = browser.ask("GET", "/runs/1", &from_outside, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer.text.contains("http-equiv=\"refresh\"") && !answer.text.contains("Sell"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_short_token_is_refused_before_anybody_can_guess_it() {
    let shop = Shop::new(Story::live().await).await;
    std::fs::write(shop.folder.path().join("token"), "secret").unwrap();
    let refused = router(shop.clone(), "shop", shop.token(), CancellationToken::new());
    assert!(matches!(refused, Err(DashboardError::ShortToken)));
}
