//! Turns over a real record and a real remote, with an engine that has nothing and refuses whatever it should make.

use axum::Router;
use axum::http::{StatusCode, Uri};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::app::{Opened, migrations};
use crate::engine::docker::Docker;
use crate::http::{Limits, serve};
use crate::model::Revision;
use crate::model::desired::Service;
use crate::model::run::{Entry, Kind, Outcome};
use crate::orders::{self, Order};
use crate::record::{Live as Switched, Run, Target};
use crate::source::{Auth, Remote};
use crate::store::Store;
use crate::trigger::Reason;

struct World {
    reconciler: Reconciler<Docker>,
    branch: git2::Repository,
    engine: CancellationToken,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("site.git");
        let mut options = git2::RepositoryInitOptions::new();
        let branch = git2::Repository::init_opts(&bare, options.bare(true).initial_head("main")).unwrap();
        let store = Store::open(&folder.path().join("agent.db"), &migrations()).unwrap();
        let remote = Remote::new(&format!("file://{}", bare.display()), "main", Auth::None).unwrap();
        let mut config = Config { state: folder.path().to_owned(), ..Config::default() };
        config.stack.name = "shop".into();
        let socket = folder.path().join("engine.sock");
        let engine = CancellationToken::new();
        let (listener, router) = (UnixListener::bind(&socket).unwrap(), Router::new().fallback(refuse));
        tokio::spawn(serve(listener, router, Limits::default(), engine.clone()));
        let opened = Opened {
            config: Arc::new(config),
            record: Record::new(store.clone()),
            wakes: Wakes::open(store.clone(), "shop").await.unwrap(),
            mirror: Mirror::open(&folder.path().join("mirror"), remote).unwrap(),
            store,
            key: [0; 64],
            stripe: None,
            clearance: Clearance::default(),
        };
        let reconciler = opened.with(Docker::connect(socket.to_str()).await.unwrap());
        Self { reconciler, branch, engine, folder }
    }

    /// The first commit has a release, and so has the second, which is live.
    async fn with_two_releases() -> Self {
        let world = Self::new().await;
        for subject in ["the first", "the second"] {
            let revision = world.push(subject);
            world.release(&revision).await;
        }
        world
    }

    fn push(&self, subject: &str) -> Revision {
        let repo = &self.branch;
        let ada = git2::Signature::now("Ada", "ada@example.com").unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parent = repo.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id = repo.commit(Some("HEAD"), &ada, &ada, subject, &tree, &parents).unwrap();
        id.to_string().parse().unwrap()
    }

    async fn release(&self, revision: &Revision) {
        let record = &self.reconciler.record;
        let desired = Desired {
            stack: "shop".into(),
            revision: revision.clone(),
            services: [("web".to_owned(), Service::plain("web", revision.as_str()))].into(),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: Vec::new(),
            nginx: Default::default(),
        };
        let run = record.begin(Kind::Deploy, revision, "", "", 1).await.unwrap();
        for entry in [Entry::Planned { summary: String::new() }, Entry::Switching] {
            record.append(run, entry, 1).await.unwrap();
        }
        let live = Switched::New { desired: &desired, subject: "", watch: None };
        record.switched(run, live, 1).await.unwrap();
        record.append(run, Entry::Ended { outcome: Outcome::Succeeded }, 1).await.unwrap();
    }

    /// A person's order and the turn that it wakes.
    async fn order(&self, order: Order) -> String {
        let Reconciler { record, wakes, .. } = &self.reconciler;
        let tip = self.tip().and_then(|tip| tip.parse().ok());
        let said = orders::obey(&order, record, wakes, tip, journal::now()).await.unwrap();
        self.turn().await;
        said
    }

    async fn woken(&self, reason: Reason) {
        self.reconciler.wakes.wake(reason).await.unwrap();
        self.turn().await;
    }

    async fn turn(&self) {
        let reason = self.reconciler.next_wake().await;
        self.reconciler.turn(&reason).await;
    }

    async fn runs(&self) -> Vec<Run> {
        self.reconciler.record.runs(50).await.unwrap()
    }

    async fn target(&self) -> Target {
        self.reconciler.record.target().await.unwrap()
    }

    fn tip(&self) -> Option<String> {
        self.reconciler.situation.borrow().tip.clone()
    }
}

async fn refuse(uri: Uri) -> (StatusCode, String) {
    let answer = match uri.path() {
        path if path.ends_with("/version") => r#"{"ApiVersion": "1.44"}"#,
        path if path.ends_with("/volumes") => r#"{"Volumes": []}"#,
        path if path.ends_with("/containers/json") || path.ends_with("/networks") => "[]",
        _ => return (StatusCode::CONFLICT, r#"{"message": "no"}"#.to_owned()),
    };
    (StatusCode::OK, answer.to_owned())
}

const BACK: Order = Order::Rollback { release: None, hold: false };

fn pushed() -> Reason {
    Reason::Webhook { delivery: "1".into() }
}

#[tokio::test]
async fn a_rollback_that_cannot_be_done_gives_way_to_the_next_commit() {
    for engine_is_there in [true, false] {
        let world = World::with_two_releases().await;
        if !engine_is_there {
            world.engine.cancel();
            std::fs::remove_file(world.folder.path().join("engine.sock")).unwrap();
        }
        world.order(BACK).await;
        let runs = world.runs().await;
        let tried = runs.iter().find(|run| run.kind == Kind::Rollback).unwrap();
        assert!(matches!(tried.outcome, Some(Outcome::Failed { .. })), "{runs:#?}");
        assert_eq!(world.tip(), None, "the first try waits for no remote");

        world.woken(pushed()).await;
        assert!(matches!(world.target().await, Target::Pinned(_)), "what was rolled back lifts no pin");
        let third = world.push("mended");
        world.woken(pushed()).await;
        assert_eq!(world.target().await, Target::Branch);
        let runs = world.runs().await;
        let deployed = runs.iter().find(|run| run.kind == Kind::Deploy).unwrap();
        assert_eq!(deployed.revision, third.as_str());
    }
}
