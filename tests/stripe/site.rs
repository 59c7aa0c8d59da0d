//! The agent's side: store, inbox and servers as the daemon puts them together, and a clock that can be set.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent::http::{Limits, Secret, serve};
use agent::inbox::{
    self, Clock, Delivery, Destination, Endpoint, Filter, Inbox, Place, Places, Reader, Setup, Signing,
    SigningSecret, State, Story,
};
use agent::store::{self, Store};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::library::HANG;

pub(crate) const SECRET: &str = "whsec_current+secret/of=the=endpoint";
pub(crate) const OLD_SECRET: &str = "whsec_older";
pub(crate) const LIVE_SECRET: &str = "whsec_live";
/// What the agent signs with for every destination.
pub(crate) const APP_SECRET: &str = "whsec_app";

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) inbox: Inbox,
    pub(crate) reader: Reader,
    pub(crate) setup: watch::Sender<Arc<Setup>>,
    pub(crate) places: watch::Sender<Places>,
    /// Milliseconds between the machine's clock and the agent's.
    pub(crate) offset: Arc<AtomicI64>,
    store: Store,
    folder: TempDir,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Site {
    /// With these destinations, all of whose services are on this machine.
    pub(crate) async fn open(destinations: Vec<Destination>) -> Self {
        Self::with_clock(destinations, 0).await
    }

    pub(crate) async fn with_clock(destinations: Vec<Destination>, offset: i64) -> Self {
        let mut places = Places::default();
        for destination in &destinations {
            places.services.insert(destination.service.clone(), here());
        }
        let setup = Setup { endpoints: endpoints(), destinations, ..Setup::default() };
        let folder = tempfile::tempdir().unwrap();
        Self::on(folder, setup, places, Arc::new(AtomicI64::new(offset))).await
    }

    /// Ends it as the service manager would, and starts it again on the same state.
    pub(crate) async fn restart(self) -> Self {
        let Self { inbox, reader, setup, places, offset, store, folder, stop, tasks, .. } = self;
        stop.cancel();
        for task in tasks {
            timeout(HANG, task).await.expect("a task does not end").unwrap();
        }
        let (setup, places) = (Setup::clone(&setup.borrow()), places.borrow().clone());
        drop((inbox, reader, store));
        Self::on(folder, setup, places, offset).await
    }

    async fn on(folder: TempDir, setup: Setup, places: Places, offset: Arc<AtomicI64>) -> Self {
        let store = Store::open(&folder.path().join("agent.db"), inbox::MIGRATIONS).unwrap();
        let (setup, places) = (watch::Sender::new(Arc::new(setup)), watch::Sender::new(places));
        let clock: Clock = {
            let offset = Arc::clone(&offset);
            Arc::new(move || machine() + offset.load(Ordering::SeqCst))
        };
        let inbox = Inbox::new(store.clone(), setup.subscribe(), places.subscribe(), clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(serve(listener, inbox.router(), Limits::default(), stop.clone())),
            tokio::spawn(inbox.clone().deliver(stop.clone())),
        ];
        let reader = Reader::new(store.clone());
        Self { address, inbox, reader, setup, places, offset, store, folder, stop, tasks }
    }

    /// Sets the agent's clock on by this many milliseconds.
    pub(crate) fn pass(&self, millis: i64) {
        self.offset.fetch_add(millis, Ordering::SeqCst);
        // Any happening makes the lanes look at the clock; without one they do so within a second.
        self.places.send_modify(|_| {});
    }

    /// The agent's time in Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        (machine() + self.offset.load(Ordering::SeqCst)) / 1000
    }

    pub(crate) fn place(&self, service: &str, place: Place) {
        self.places.send_modify(|places| {
            places.services.insert(service.to_owned(), place);
        });
    }

    pub(crate) fn configure(&self, change: impl FnOnce(&mut Setup)) {
        self.setup.send_modify(|setup| change(Arc::make_mut(setup)));
    }

    /// Sends an event as Stripe does, and expects it to be kept.
    pub(crate) async fn keep(&self, body: &str) {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        self.post_to("/webhooks/stripe", &[&signed(SECRET, body.as_bytes(), self.now())], body.as_bytes())
            .await
    }

    pub(crate) async fn post_to(&self, path: &str, signatures: &[&str], body: &[u8]) -> Answer {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/json; charset=utf-8\r\nX-Relay-Trigger: simulated\r\n",
            body.len()
        );
        for signature in signatures {
            request += &format!("Stripe-Signature: {signature}\r\n");
        }
        let mut request = request.into_bytes();
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.raw(&request).await
    }

    /// Sends these bytes and reads the answer until the connection closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let (mut read, mut write) = TcpStream::connect(self.address).await.unwrap().into_split();
        let mut answer = Vec::new();
        let sending = async {
            // A server that refuses early may close before all is sent.
            let _ = write.write_all(request).await;
            write
        };
        let exchange = async { tokio::join!(sending, read.read_to_end(&mut answer)) };
        let (_write, received) = timeout(HANG, exchange).await.expect("no answer");
        if answer.is_empty() {
            received.unwrap();
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"));
        Answer { status, head: head.to_ascii_lowercase(), text: text.to_owned() }
    }

    pub(crate) async fn story(&self, id: &str) -> Story {
        self.reader.story(id.to_owned(), None).await.unwrap().unwrap_or_else(|| panic!("{id} is not kept"))
    }

    pub(crate) async fn count(&self) -> usize {
        self.reader.events(Filter { limit: 1_000_000, ..Filter::default() }).await.unwrap().len()
    }

    /// Waits until the delivery of this event to this destination is as wished.
    pub(crate) async fn until(&self, id: &str, to: &str, good: impl Fn(&Delivery) -> bool) -> Delivery {
        let waiting = async {
            loop {
                let story = self.story(id).await;
                let delivery = story.event.deliveries.into_iter().find(|delivery| delivery.destination == to);
                match delivery {
                    Some(delivery) if good(&delivery) => return delivery,
                    _ => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        match timeout(HANG, waiting).await {
            Ok(delivery) => delivery,
            Err(_) => panic!("{id} to {to} never came there: {:#?}", self.story(id).await),
        }
    }

    pub(crate) async fn until_delivered(&self, id: &str, to: &str) -> Delivery {
        self.until(id, to, |delivery| delivery.state == State::Delivered).await
    }

    /// Writes straight into the tables.
    pub(crate) async fn write<F>(&self, work: F)
    where
        F: FnOnce(&rusqlite::Connection) -> Result<(), store::Error> + Send + 'static,
    {
        self.store.write(work).await.unwrap();
    }

    /// Lets the database grow to this many pages and no further, as a full disk would.
    pub(crate) async fn limit_pages(&self, pages: u32) {
        let sql = format!("PRAGMA max_page_count = {pages}");
        self.write(move |tx| Ok(tx.query_row(&sql, [], |_| Ok(()))?)).await;
    }
}

pub(crate) fn machine() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn here() -> Place {
    Place::At(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

pub(crate) fn away() -> Place {
    Place::Away { why: "it is rolling".into() }
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let signing = |text: &str, livemode| SigningSecret { secret: Secret::new(text).unwrap(), livemode };
    let tolerance = Duration::from_secs(300);
    let main =
        vec![signing(SECRET, Some(false)), signing(OLD_SECRET, None), signing(LIVE_SECRET, Some(true))];
    let connect = vec![signing("whsec_connect", None)];
    vec![
        Endpoint { name: "default".into(), secrets: main, tolerance },
        Endpoint { name: "connect".into(), secrets: connect, tolerance },
    ]
}

/// A destination that wants everything, at an app on this port.
pub(crate) fn destination(name: &str, port: u16) -> Destination {
    Destination {
        name: name.to_owned(),
        service: name.to_owned(),
        endpoint: None,
        events: vec!["*".parse().unwrap()],
        path: "/hook".into(),
        port,
        secrets: vec![Secret::new(APP_SECRET).unwrap()],
        concurrency: 4,
        timeout: Duration::from_secs(15),
        ordered: false,
        signing: Signing::Stripe,
        passthrough: false,
    }
}

/// A signature as Stripe makes it, for tests in which its library is not the point.
pub(crate) fn signed(secret: &str, body: &[u8], at: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// An event about one charge.
pub(crate) fn event(id: &str) -> String {
    about(id, "charge.succeeded", "ch_1")
}

pub(crate) fn about(id: &str, kind: &str, object: &str) -> String {
    format!("{:#}", snapshot(id, kind, object))
}

pub(crate) fn snapshot(id: &str, kind: &str, object: &str) -> Value {
    json!({
        "id": id,
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": 1_700_000_000,
        "data": { "object": { "id": object, "object": "charge", "amount": 2000, "description": "ünïcödé" } },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    })
}

pub(crate) fn thin(id: &str, kind: &str) -> String {
    let event = json!({
        "id": id,
        "object": "v2.core.event",
        "context": null,
        "created": "2026-11-22T10:00:00.500Z",
        "livemode": false,
        "reason": null,
        "related_object": { "id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1" },
        "type": kind,
    });
    format!("{event:#}")
}
