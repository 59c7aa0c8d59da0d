//! The pages over a real record, asked as a browser asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::{DateTime, NaiveDateTime};
use http_body_util::BodyExt;
use minijinja::context;
use minijinja::value::{Serde, Value};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::home::{known, view};
use super::pages::Pages;
use super::{Agent, DashboardError, router};
use crate::cli::tests::story::{AT, Story, observed};
use crate::config::SecretFile;
use crate::http::Secret;
use crate::inbox::{Destination, Endpoint, Inbox, Setup, Signing, SigningSecret, Simulation};
use crate::model::instance::Observed;
use crate::model::run::{ReleaseId, RunId};
use crate::orders::{self, Order, OrderError};
use crate::overview::Status;
use crate::overview::time::Clock;
use crate::reconcile::{Doing, Situation};
use crate::record::{Record, Target};
use crate::trigger::Wakes;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A shop whose engine shows what it always shows, and whose orders are the real ones.
struct Shop {
    story: Story,
    wakes: Wakes,
    situation: watch::Sender<Situation>,
    inbox: Option<Inbox>,
    folder: TempDir,
}

impl Shop {
    async fn new(story: Story) -> Arc<Self> {
        Self::with(story, None).await
    }

    async fn with(story: Story, inbox: Option<Inbox>) -> Arc<Self> {
        let wakes = Wakes::open(story.store.clone(), "shop").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        Arc::new(Self { story, wakes, situation: watch::Sender::default(), inbox, folder })
    }

    fn token(&self) -> SecretFile {
        SecretFile::File(self.folder.path().join("token"))
    }
}

impl Agent for Shop {
    fn record(&self) -> &Record {
        &self.story.record
    }

    fn status(&self) -> Status {
        let situation = self.situation.borrow().clone();
        Status { version: "0.1.0".into(), pid: 4242, situation, pending: self.wakes.pending().is_some() }
    }

    fn situation(&self) -> watch::Receiver<Situation> {
        self.situation.subscribe()
    }

    async fn observe(&self) -> Result<Observed, String> {
        Ok(observed())
    }

    async fn obey(&self, order: Order) -> Result<String, OrderError> {
        orders::obey(&order, &self.story.record, &self.wakes, None, AT).await
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
    }

    fn logs_of(&self, run: RunId) -> PathBuf {
        self.folder.path().join(run.to_string())
    }
}

/// A browser with its one cookie.
struct Browser {
    router: Router,
    shop: Arc<Shop>,
    cookie: String,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The CSRF token in a form of this page.
    fn csrf(&self) -> &str {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split_once('"').unwrap().0
    }
}

impl Browser {
    async fn stranger(story: Story) -> Self {
        Self::before(Shop::new(story).await)
    }

    fn before(shop: Arc<Shop>) -> Self {
        let router = router(shop.clone(), "shop", shop.token(), CancellationToken::new()).unwrap();
        Self { router, shop, cookie: String::new() }
    }

    async fn signed_in(story: Story) -> Self {
        Self::stranger(story).await.sign_in().await
    }

    async fn sign_in(mut self) -> Self {
        let browser = &mut self;
        let answer = browser.post("/sign-in", &format!("token={TOKEN}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        browser.cookie = answer.header(header::SET_COOKIE).split(';').next().unwrap().to_owned();
        self
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("sec-fetch-site", "same-origin")], body).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let request =
            request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn target(&self) -> Target {
        self.shop.story.record.target().await.unwrap()
    }
}

const PAGES: [&str; 9] = [
    "/",
    "/runs/1",
    "/runs/4",
    "/runs/99",
    "/releases/1/rollback",
    "/releases/99/rollback",
    "/resume",
    "/retry",
    "/dead-letters",
];

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

    let https = [("sec-fetch-site", "same-origin"), ("x-forwarded-proto", "https")];
    let right = browser.ask("POST", "/sign-in", &https, &body).await;
    assert!(right.header(header::SET_COOKIE).ends_with("; Secure"));

    for next in ["", "//evil.example"] {
        let answer = browser.post("/sign-in", &format!("token={TOKEN}&next={next}")).await;
        assert_eq!(answer.header(header::LOCATION), "./", "{next}");
    }
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
async fn text_from_the_repository_stays_text() {
    let story = Story::live().await;
    let at = AT + 60_000;
    let revision = crate::cli::tests::story::revision('f');
    let subject = "<script>alert(1)</script> & \"more\"";
    story.record.begin(crate::model::run::Kind::Deploy, &revision, subject, "webhook <b>", at).await.unwrap();
    let browser = Browser::signed_in(story).await;
    for page in ["/", "/runs/3"] {
        let text = browser.get(page).await.text;
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script>alert"), "{page}");
    }
}

#[tokio::test]
async fn a_short_token_is_refused_before_anybody_can_guess_it() {
    let shop = Shop::new(Story::live().await).await;
    std::fs::write(shop.folder.path().join("token"), "secret").unwrap();
    let refused = router(shop.clone(), "shop", shop.token(), CancellationToken::new());
    assert!(matches!(refused, Err(DashboardError::ShortToken)));
}

/// A till that waits for its payments, and one that could not be brought three days long.
async fn with_payments() -> (Browser, Vec<String>) {
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

/// The first page at a fixed time, as a person reads it.
async fn told(story: Story, situation: Situation) -> String {
    fn utc(millis: i64) -> NaiveDateTime {
        DateTime::from_timestamp_millis(millis).unwrap().naive_utc()
    }
    let shop = Shop::new(story).await;
    shop.situation.send_replace(situation);
    let clock = Clock { now: AT + 2 * 3_600_000, wall: utc };
    let view = view(known(&*shop, "shop", &clock).await.unwrap(), None, &clock);
    let values = context! { root => "./", csrf => "x", ..Value::from(Serde(view)) };
    let page = Pages::new("shop").unwrap().text("home.html", values).unwrap();
    let (_, main) = page.split_once("<main").unwrap();
    read(main)
}

/// What is left of HTML when it is read: a line for each block.
fn read(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html.split_once('>').unwrap().1;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(&before.replace('\n', " "));
        let (name, after) = tag.split_once('>').unwrap();
        if ["/h1", "/h2", "/p", "/li", "/tr", "/section"].contains(&name) {
            text.push('\n');
        } else {
            text.push(' ');
        }
        rest = after;
    }
    let text = text.replace("&#x2f;", "/").replace("&quot;", "\"").replace("&#x27;", "'");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_failed_push_stands_above_everything_else() {
    insta::assert_snapshot!(told(Story::failed().await, Situation::default()).await);
}

#[tokio::test]
async fn a_rollback_says_what_is_held_and_until_when() {
    insta::assert_snapshot!(told(Story::rolled_back().await, Situation::default()).await);
}

#[tokio::test]
async fn a_run_in_progress_is_told_with_its_steps() {
    let story = Story::live().await;
    story.begin_bringing_up().await;
    let doing = Doing::Turn { why: "webhook 9c".into(), since: AT, run: Some(RunId(3)) };
    insta::assert_snapshot!(told(story, Situation { doing, ..Situation::default() }).await);
}
