//! Somebody who runs things and writes them down, and those who want to hear of it: one server that plays GitHub,
//! Slack, Discord and a webhook of one's own, well or badly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::http::{Client, ReadSecret, Secret};
use agent::model::Revision;
use agent::model::desired::Desired;
use agent::model::run::{Entry, Failure, Kind, Outcome, RunId};
use agent::outbox::{self, Deployments, Discord, GitHub, Outbox, Slack, Statuses, Target, Webhook};
use agent::reconcile::Situation;
use agent::record::{self, Live, Record};
use agent::store::Store;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Far above what anything here takes: only a hang reaches it.
const HANG: Duration = Duration::from_secs(90);

/// How a part of the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Fails,
    Silent,
}

/// A request that was answered with a yes.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Taken {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) taken: Vec<Taken>,
    /// By the first part of the path.
    moods: BTreeMap<String, Mood>,
    /// Requests that were not answered with a yes, by the same.
    pub(crate) refused: BTreeMap<String, usize>,
    deployments: Vec<Value>,
}

pub(crate) struct Town {
    pub(crate) record: Record,
    pub(crate) situation: watch::Sender<Situation>,
    pub(crate) dead: watch::Sender<Option<u64>>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    store: Store,
    folder: TempDir,
    url: String,
    /// How far the wing's clock is ahead, in milliseconds.
    pub(crate) ahead: Arc<AtomicI64>,
    wing: Option<(CancellationToken, JoinHandle<()>)>,
    runs: u32,
}

async fn answer(
    State(seen): State<Arc<Mutex<Seen>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let part = uri.path().split('/').nth(1).unwrap().to_owned();
    let mood = seen.lock().unwrap().moods.get(&part).copied().unwrap_or(Mood::Good);
    if mood != Mood::Good {
        *seen.lock().unwrap().refused.entry(part).or_default() += 1;
        if mood == Mood::Silent {
            std::future::pending::<()>().await;
        }
        return (StatusCode::INTERNAL_SERVER_ERROR, "an\nerror of its own").into_response();
    }
    let path = uri.path_and_query().unwrap().to_string();
    let path = path.strip_prefix("/github").unwrap_or(&path).to_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let body = String::from_utf8(body.to_vec()).unwrap();
    let taken = Taken { method: method.to_string(), path, headers: headers.collect(), body };
    let mut seen = seen.lock().unwrap();
    seen.taken.push(taken.clone());
    if part == "github" {
        github(&taken, &mut seen.deployments)
    } else {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// Deployments are kept, found by their commit, and given back as GitHub does.
fn github(taken: &Taken, deployments: &mut Vec<Value>) -> Response {
    if taken.method == "GET" {
        let found: Vec<&Value> =
            deployments.iter().filter(|one| taken.path.contains(one["sha"].as_str().unwrap())).collect();
        return axum::Json(json!(found)).into_response();
    }
    if !taken.path.ends_with("/deployments") {
        return (StatusCode::CREATED, axum::Json(json!({ "id": 1 }))).into_response();
    }
    let asked = taken.json();
    let made = json!({ "id": deployments.len() + 100, "sha": asked["ref"], "payload": asked["payload"] });
    deployments.push(made.clone());
    (StatusCode::CREATED, axum::Json(made)).into_response()
}

fn secret(text: String) -> ReadSecret {
    Box::new(move || Ok(Secret::new(text.clone()).unwrap()))
}

impl Town {
    pub(crate) async fn found() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let store = Store::open(&folder.path().join("agent.db"), &migrations()).unwrap();
        let record = Record::new(store.clone());
        let situation = watch::Sender::new(Situation::default());
        let dead = watch::Sender::new(None);
        let (ahead, wing, runs) = (Arc::default(), None, 0);
        let mut town = Self { record, situation, dead, seen, store, folder, url, ahead, wing, runs };
        town.open().await;
        town
    }

    /// The wing starts, as with the daemon.
    pub(crate) async fn open(&mut self) {
        let github = || GitHub {
            api_url: format!("{}/github", self.url),
            repository: "acme/shop".into(),
            token: secret("a-token".into()),
            link: Some("https://agent.example.com".into()),
        };
        let targets = vec![
            Target::Statuses(Statuses(github())),
            Target::Deployments(Deployments { github: github(), environment: "production".into() }),
            Target::Slack(Slack { url: secret(format!("{}/slack/T0", self.url)), all: false }),
            Target::Discord(Discord { url: secret(format!("{}/discord", self.url)), all: true }),
            Target::Webhook(Webhook { url: format!("{}/hook", self.url), secret: secret(SECRET.into()) }),
        ];
        let ahead = Arc::clone(&self.ahead);
        let outbox = Outbox {
            store: self.store.clone(),
            record: self.record.clone(),
            situation: self.situation.subscribe(),
            dead: self.dead.subscribe(),
            stack: "shop".into(),
            targets,
            client: Client::new().unwrap(),
            clock: Arc::new(move || now() + ahead.load(Ordering::Relaxed)),
        };
        let stop = CancellationToken::new();
        self.wing = Some((stop.clone(), tokio::spawn(outbox.run(stop))));
        // From when on it wants to be told is written down first.
        self.eventually("the targets to be enlisted", async |town| {
            let count = town.store.read(|sql| -> Result<i64, agent::store::Error> {
                Ok(sql.query_row("SELECT count(*) FROM outbox_targets", [], |row| row.get(0))?)
            });
            count.await.unwrap() == 5
        })
        .await;
    }

    /// It ends, as with the daemon: what is under way is dropped.
    pub(crate) async fn close(&mut self) {
        let (stop, task) = self.wing.take().unwrap();
        stop.cancel();
        tokio::time::timeout(HANG, task).await.expect("the wing does not end").unwrap();
    }

    /// Opens the store anew: nothing but the disk remembers.
    pub(crate) async fn restart(&mut self) {
        self.close().await;
        self.situation = watch::Sender::new(Situation::default());
        let aside = Store::open(&self.folder.path().join("other.db"), &migrations()).unwrap();
        self.record = Record::new(aside.clone());
        drop(std::mem::replace(&mut self.store, aside));
        self.store = Store::open(&self.folder.path().join("agent.db"), &migrations()).unwrap();
        self.record = Record::new(self.store.clone());
        self.open().await;
    }

    pub(crate) fn mood(&self, part: &str, mood: Mood) {
        self.seen.lock().unwrap().moods.insert(part.to_owned(), mood);
    }

    /// A run begins.
    pub(crate) async fn begin(&mut self, kind: Kind, revision: &Revision, subject: &str) -> RunId {
        self.runs += 1;
        let run = self.record.begin(kind, revision, subject, "a test", now()).await.unwrap();
        self.tell();
        run
    }

    /// It ends; a success leaves a release.
    pub(crate) async fn end(&self, run: RunId, revision: &Revision, outcome: Outcome) {
        if outcome == Outcome::Succeeded {
            for entry in [Entry::Planned { summary: "x".into() }, Entry::Switching] {
                self.record.append(run, entry, now()).await.unwrap();
            }
            let desired = desired(revision);
            let live = Live::New { desired: &desired, subject: "x", watch: None };
            self.record.switched(run, live, now()).await.unwrap();
        }
        self.record.append(run, Entry::Ended { outcome }, now()).await.unwrap();
        self.tell();
    }

    pub(crate) async fn run(&mut self, digit: char, subject: &str, outcome: Outcome) {
        let revision = revision(digit);
        let run = self.begin(Kind::Deploy, &revision, subject).await;
        self.end(run, &revision, outcome).await;
    }

    fn tell(&self) {
        self.situation.send_modify(|situation| situation.turns += 1);
    }

    /// The bodies that were taken at addresses with this part.
    pub(crate) fn at(&self, part: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let there = seen.taken.iter().filter(|taken| taken.method == "POST" && taken.path.contains(part));
        there.map(Taken::json).collect()
    }

    pub(crate) async fn eventually(&self, what: &str, look: impl AsyncFn(&Self) -> bool) {
        let waited = tokio::time::timeout(HANG, async {
            while !look(self).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if waited.await.is_err() {
            let seen = self.seen.lock().unwrap();
            panic!("waited for {what}; refused {:?}, taken {:#?}", seen.refused, seen.taken);
        }
    }

    /// Waits until so many bodies were taken there, and returns them.
    pub(crate) async fn taken(&self, part: &str, count: usize) -> Vec<Value> {
        self.eventually(&format!("{count} at {part}"), async |town| town.at(part).len() >= count).await;
        self.at(part)
    }
}

fn migrations() -> Vec<agent::store::Migration> {
    [record::MIGRATIONS, outbox::MIGRATIONS].concat()
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

pub(crate) fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

fn desired(revision: &Revision) -> Desired {
    Desired {
        stack: "shop".into(),
        revision: revision.clone(),
        services: BTreeMap::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes: Vec::new(),
        nginx: Default::default(),
    }
}

pub(crate) fn failed(message: &str) -> Outcome {
    let log = "DATABASE_URL=postgres://shop:hunter2@db\n".to_owned();
    let reason = Failure { service: Some("web".into()), message: message.into(), hint: None, log };
    Outcome::Failed { reason }
}
