//! The pages over a real record, asked as a browser asks.

mod buttons;
mod places;
mod privacy;
mod sign_in;
mod stripe;
mod told;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Agent, router};
use crate::cli::tests::story::{AT, Story, observed};
use crate::config::SecretFile;
use crate::http::Peer;
use crate::inbox::Inbox;
use crate::model::instance::Observed;
use crate::model::run::RunId;
use crate::orders::{self, Order, OrderError};
use crate::overview::Status;
use crate::reconcile::Situation;
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
#[derive(Clone)]
struct Browser {
    router: Router,
    shop: Arc<Shop>,
    cookie: String,
    peer: Peer,
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
        let peer = Peer::Ip([127, 0, 0, 1].into());
        Self { router, shop, cookie: String::new(), peer }
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
        let mut request =
            request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(self.peer);
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
