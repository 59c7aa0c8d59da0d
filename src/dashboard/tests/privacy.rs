//! What every page keeps to itself, and to whom it listens.

use axum::http::header;

use super::{Browser, PAGES, TOKEN};
use crate::cli::tests::story::{AT, Story, revision};
use crate::model::run::Kind;

#[tokio::test]
async fn every_answer_keeps_the_page_to_itself() {
    let browser = Browser::signed_in(Story::failed().await).await;
    for page in PAGES.into_iter().chain(["/sign-in", "/style.css", "/script.js", "/nothing", "/a/b/c/d"]) {
        let answer = browser.get(page).await;
        let csp = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(csp.starts_with("default-src 'none';") && !csp.contains("unsafe"), "{page}: {csp}");
        assert!(csp.contains("frame-ancestors 'none'"), "{page}: {csp}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{page}");
        let kept = answer.header(header::CACHE_CONTROL);
        assert_eq!(
            kept.contains("immutable"),
            page.contains(".css") || page.contains(".js"),
            "{page}: {kept}"
        );
        assert!(!answer.text.contains(" style=") && !answer.text.contains(" onclick"), "{page}");
        assert!(!answer.text.contains("://") || page.starts_with("/icon"), "{page} names another address");
    }
}

#[tokio::test]
async fn no_page_tells_a_secret() {
    let story = Story::rolled_back().await;
    let browser = Browser::signed_in(story).await;
    for page in PAGES {
        let answer = browser.get(page).await;
        assert!(!answer.text.contains("hunter2") && !answer.text.contains(TOKEN), "{page}");
    }
}

#[tokio::test]
async fn text_from_the_repository_stays_text() {
    let story = Story::live().await;
    let at = AT + 60_000;
    let revision = revision('f');
    let subject = "<script>alert(1)</script> & \"more\"";
    story.record.begin(Kind::Deploy, &revision, subject, "webhook <b>", at).await.unwrap();
    let browser = Browser::signed_in(story).await;
    for page in ["/", "/runs/3"] {
        let text = browser.get(page).await.text;
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script>alert"), "{page}");
    }
}
