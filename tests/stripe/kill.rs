//! Agent and app killed with SIGKILL, again and again, under a stream of events: whatever was acknowledged arrives,
//! in order where that was asked.
//!
//! Both are this test binary, started anew with another one of its tests. `AGENT_TEST_EVENTS` and `AGENT_TEST_KILLS`
//! set how much there is of it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::http::{Limits, serve};
use agent::inbox::{self, Clock, Inbox, Places, Reader, Setup};
use agent::store::Store;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::site::{SECRET, about, away, destination, endpoints, here, machine, signed};

const ROLE: &str = "AGENT_TEST_ROLE";
const FOLDER: &str = "AGENT_TEST_FOLDER";
const PORTS: &str = "AGENT_TEST_PORTS";
/// Senders at once; each sends the events of its own objects, one after the other.
const SENDERS: usize = 16;

fn asked(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

fn database(folder: &Path) -> PathBuf {
    folder.join("agent.db")
}

/// Where the app writes the id of each event it answered 200, a line each.
fn arrived(folder: &Path) -> PathBuf {
    folder.join("arrived")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_arrives_whoever_is_killed() {
    let (events, kills) = (asked("AGENT_TEST_EVENTS", 2000), asked("AGENT_TEST_KILLS", 4));
    let folder = tempfile::tempdir().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = [free(), free()];
    let start = |role| Process::start(role, folder.path(), ports);
    let (agent, app) = (Mutex::new(start("agent")), Mutex::new(start("app")));

    let begun = std::time::Instant::now();
    let (acknowledged, sent) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicUsize::new(0)));
    let sending = join_all((0..SENDERS).map(|sender| {
        tokio::spawn(send(ports[0], sender, events / SENDERS, Arc::clone(&acknowledged), Arc::clone(&sent)))
    }));
    let killing = async {
        for n in 1..=2 * kills {
            // Spread over the stream, at moments that have nothing to do with what goes on.
            while sent.load(Ordering::SeqCst) < events * n / (2 * kills + 1) {
                sleep(Duration::from_millis(1)).await;
            }
            let (role, victim) = if n % 2 == 1 { ("agent", &agent) } else { ("app", &app) };
            let mut victim = victim.lock().unwrap();
            victim.kill();
            *victim = start(role);
        }
    };
    let (sending, ()) = tokio::join!(sending, killing);
    sending.into_iter().for_each(|sender| sender.unwrap());
    let taken = begun.elapsed();

    let reader = Reader::new(Store::read_only(&database(folder.path()), inbox::MIGRATIONS).unwrap());
    let mut rounds = 0;
    while reader.backlog().await.unwrap().iter().any(|left| left.pending > 0) {
        rounds += 1;
        assert!(rounds < 600, "never delivered: {:?}", reader.backlog().await);
        if rounds % 20 == 0 {
            // What failed waits for its next attempt, or for the app to come back.
            let mut app = app.lock().unwrap();
            app.kill();
            std::thread::sleep(Duration::from_millis(300));
            *app = start("app");
        }
        sleep(Duration::from_millis(200)).await;
    }

    let acknowledged = acknowledged.lock().unwrap().clone();
    let text = fs::read_to_string(arrived(folder.path())).unwrap();
    let ids: Vec<&str> = text.lines().collect();
    let once: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let lost: Vec<&String> = acknowledged.difference(&once).collect();
    println!(
        "{} acknowledged in {taken:?}, {} delivered, {} of them again; agent and app killed {kills} times each",
        acknowledged.len(),
        once.len(),
        ids.len() - once.len(),
    );
    assert_eq!(acknowledged.len(), events / SENDERS * SENDERS);
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    in_order(&ids);
}

/// Of each object, no event arrived after a later one. `evt_OBJECT_NUMBER`.
fn in_order(ids: &[&str]) {
    let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
    for id in ids {
        let (object, number) = id.rsplit_once('_').unwrap();
        let number = number.parse().unwrap();
        let before = newest.insert(object, number).unwrap_or(0);
        assert!(before <= number, "{id} arrived after number {before}");
    }
}

/// Sends each event until it is acknowledged, as Stripe would, only sooner.
async fn send(
    port: u16,
    sender: usize,
    count: usize,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    sent: Arc<AtomicUsize>,
) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for n in 0..count {
        let object = format!("{sender}x{}", n % 4);
        let id = format!("evt_{object}_{n}");
        let body = about(&id, "charge.updated", &object);
        loop {
            let request = Request::post(format!("http://127.0.0.1:{port}/webhooks/stripe"))
                .header("stripe-signature", signed(SECRET, body.as_bytes(), machine() / 1000))
                .body(Full::from(body.clone()))
                .unwrap();
            let answered = client.request(request).await.map(|answer| answer.status());
            if answered.is_ok_and(|status| status == StatusCode::OK) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        acknowledged.lock().unwrap().insert(id);
        sent.fetch_add(1, Ordering::SeqCst);
    }
}

struct Process(Child);

impl Process {
    fn start(role: &str, folder: &Path, ports: [u16; 2]) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "kill::the_other_process"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .env(PORTS, format!("{} {}", ports[0], ports[1]))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child of the test above"]
async fn the_other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let folder = PathBuf::from(env::var(FOLDER).unwrap());
    let ports = env::var(PORTS).unwrap();
    let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
    match &*role {
        "agent" => be_agent(&folder, ports[0], ports[1]).await,
        _ => be_app(&folder, ports[1]).await,
    }
}

async fn be_agent(folder: &Path, port: u16, app: u16) {
    let store = Store::open(&database(folder), inbox::MIGRATIONS).unwrap();
    let mut books = destination("books", app);
    (books.ordered, books.concurrency) = (true, 8);
    let setup = Setup { endpoints: endpoints(), destinations: vec![books], ..Setup::default() };
    let (setup, places) = (watch::Sender::new(Arc::new(setup)), watch::Sender::new(Places::default()));
    let clock: Clock = Arc::new(machine);
    let inbox = Inbox::new(store, setup.subscribe(), places.subscribe(), clock);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, inbox.router(), Limits::default(), stop.clone()));
    tokio::spawn(inbox.deliver(stop.clone()));
    // What the reconciler knows from the engine.
    loop {
        let there = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, app))).await.is_ok();
        places.send_if_modified(|places| {
            let place = if there { here() } else { away() };
            places.services.insert("books".into(), place.clone()) != Some(place)
        });
        sleep(Duration::from_millis(50)).await;
    }
}

async fn be_app(folder: &Path, port: u16) {
    let file = OpenOptions::new().create(true).append(true).open(arrived(folder)).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let router = Router::new().route("/hook", post(arrive)).with_state(Arc::new(Mutex::new(file)));
    axum::serve(listener, router).await.unwrap();
}

async fn arrive(State(file): State<Arc<Mutex<fs::File>>>, headers: HeaderMap, body: Body) -> StatusCode {
    let _ = body.collect().await;
    let id = headers["x-relay-event-id"].to_str().unwrap();
    // One write a line: a kill falls before it or after it.
    file.lock().unwrap().write_all(format!("{id}\n").as_bytes()).unwrap();
    StatusCode::OK
}
