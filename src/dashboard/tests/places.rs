//! Wherever the pages are published, they lead to each other and nowhere else.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};

use super::stripe::with_payments;
use super::{Answer, Browser};

/// Where nginx publishes them; what it passes on begins behind it.
const BASE: &str = "/some/where/";

/// The addresses that a page names, as it names them.
fn named(page: &Answer) -> Vec<String> {
    let attributes = [" href=\"", " src=\"", " action=\""].into_iter();
    let found = attributes.flat_map(|attribute| page.text.split(attribute).skip(1));
    let mut named: Vec<String> = found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    named.extend(page.headers.get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned()));
    named.into_iter().map(|address| address.replace("&#x2f;", "/")).collect()
}

/// What a browser makes of it on the page at this path.
fn resolved(page: &str, address: &str) -> String {
    assert!(!address.starts_with('/') && !address.contains("://"), "{page} names {address}");
    let address = address.split(['?', '#']).next().unwrap();
    if address.is_empty() {
        return page.to_owned();
    }
    let (folder, _) = page.rsplit_once('/').unwrap();
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in address.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    // `.` and `..` name folders.
    let slash = if address.ends_with("..") || address.ends_with("./.") { "/" } else { "" };
    parts.join("/") + slash
}

#[tokio::test]
async fn every_address_leads_on_below_the_place_where_the_pages_are_published() {
    let (browser, _) = with_payments().await;
    let (mut seen, mut next) = (BTreeSet::new(), vec![BASE.to_owned()]);
    while let Some(page) = next.pop() {
        let Some(path) = page.strip_prefix(BASE) else { panic!("{page} is not below {BASE}") };
        if !seen.insert(path.to_owned()) {
            continue;
        }
        let answer = browser.get(&format!("/{path}")).await;
        // Only posted to.
        if path == "sign-out" {
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            continue;
        }
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        if answer.header(header::CONTENT_TYPE).starts_with("text/html") {
            next.extend(named(&answer).iter().map(|address| resolved(&page, address)));
        }
    }
    for path in ["", "style.css", "script.js", "icon.svg", "runs/1", "releases/1/rollback", "dead-letters"] {
        assert!(seen.contains(path), "nothing leads to {path}: {seen:?}");
    }
    assert!(seen.iter().any(|path| path.ends_with("/resend")), "{seen:?}");
}

#[tokio::test]
async fn every_redirect_stays_below_the_place_where_the_pages_are_published() {
    let (browser, ids) = with_payments().await;
    let resend = format!("/stripe/{}/resend", ids[0]);
    let csrf = browser.get("/dead-letters").await.csrf().to_owned();
    for path in ["/releases/1/rollback", "/resume", &resend, "/dead-letters"] {
        let answer = browser.post(path, &format!("csrf={csrf}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text);
        let page = format!("{BASE}{}", &path[1..]);
        assert_eq!(resolved(&page, answer.header(header::LOCATION)), BASE, "{path}");
    }
    let gone = browser.post("/sign-out", &format!("csrf={csrf}")).await;
    assert_eq!(resolved(&format!("{BASE}sign-out"), gone.header(header::LOCATION)), format!("{BASE}sign-in"));
    // A cookie without a path is for the folder of the address that set it, which is the place itself.
    assert!(!gone.header(header::SET_COOKIE).to_lowercase().contains("path"));
    for path in ["/", "/runs/1", "/releases/1/rollback", &resend] {
        let answer = Browser { cookie: String::new(), ..browser.clone() }.get(path).await;
        let to = resolved(&format!("{BASE}{}", &path[1..]), answer.header(header::LOCATION));
        assert_eq!(to, format!("{BASE}sign-in"), "{path}");
    }
}
