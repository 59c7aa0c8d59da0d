//! Turns over a real record and a real remote, with an engine that has nothing and refuses whatever it should make.

mod remote;

use std::path::PathBuf;

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
use crate::model::run::{Entry, Failure, Kind, Outcome, RunId};
use crate::orders::{self, Order};
use crate::record::{Denial, Live as Switched, Run, Target, Watched, Why};
use crate::source::{Auth, Remote};
use crate::store::Store;
use crate::trigger::Reason;

pub(super) struct World {
    pub(super) reconciler: Reconciler<Docker>,
    branch: git2::Repository,
    engine: CancellationToken,
    pub(super) folder: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("site.git");
        let mut options = git2::RepositoryInitOptions::new();
        let branch = git2::Repository::init_opts(&bare, options.bare(true).initial_head("main")).unwrap();
        let store = Store::open(&folder.path().join("agent.db"), &migrations()).unwrap();
        let remote = Remote::new(&format!("file://{}", bare.display()), "main", Auth::None).unwrap();
        let mut config = Config { state: folder.path().to_owned(), ..Config::default() };
        config.stack.name = "shop".into();
        let engine = engine(&folder);
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
        let reconciler = opened.with(Docker::connect(socket(&folder).to_str()).await.unwrap());
        Self { reconciler, branch, engine, folder }
    }

    pub(super) fn engine_goes(&self) {
        self.engine.cancel();
        std::fs::remove_file(socket(&self.folder)).unwrap();
    }

    /// The first commit has a release, and so has the second, which is live.
    async fn with_two_releases() -> Self {
        let world = Self::new().await;
        for subject in ["the first", "the second"] {
            let revision = world.push(subject);
            world.release(&revision, &["web"]).await;
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

    async fn release(&self, revision: &Revision, services: &[&str]) {
        self.goes_live(revision, services, None, 1).await;
    }

    async fn goes_live(&self, revision: &Revision, services: &[&str], watch: Option<Watched>, at: i64) {
        let record = &self.reconciler.record;
        let services =
            services.iter().map(|name| ((*name).to_owned(), Service::plain(name, revision.as_str())));
        let desired = Desired {
            stack: "shop".into(),
            revision: revision.clone(),
            services: services.collect(),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: Vec::new(),
            nginx: Default::default(),
        };
        let run = record.begin(Kind::Deploy, revision, "", "", at).await.unwrap();
        for entry in [Entry::Planned { summary: String::new() }, Entry::Switching] {
            record.append(run, entry, at).await.unwrap();
        }
        let live = Switched::New { desired: &desired, subject: "", watch };
        record.switched(run, live, at).await.unwrap();
        record.append(run, Entry::Ended { outcome: Outcome::Succeeded }, at).await.unwrap();
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

    async fn current(&self) -> Option<Revision> {
        self.reconciler.record.current().await.unwrap().map(|release| release.revision)
    }

    async fn deny(&self, revision: &Revision) {
        let why = Why::Stalled { failure: Failure::default() };
        let denial = Denial { revision: revision.clone(), why, run: RunId(1), at: 1 };
        self.reconciler.record.deny(denial).await.unwrap();
    }

    fn tip(&self) -> Option<String> {
        self.reconciler.situation.borrow().tip.clone()
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("engine.sock")
}

pub(super) fn engine(folder: &TempDir) -> CancellationToken {
    let (listener, router) = (UnixListener::bind(socket(folder)).unwrap(), Router::new().fallback(refuse));
    let end = CancellationToken::new();
    tokio::spawn(serve(listener, router, Limits::default(), end.clone()));
    end
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

const LOOK: Order = Order::Deploy { allow_prune: false, despite_freeze: false };
const BACK: Order = Order::Rollback { release: None, hold: false };

fn pushed() -> Reason {
    Reason::Webhook { delivery: "1".into() }
}

#[tokio::test]
async fn a_rollback_that_cannot_be_done_gives_way_to_the_next_commit() {
    for engine_is_there in [true, false] {
        let world = World::with_two_releases().await;
        if !engine_is_there {
            world.engine_goes();
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

#[tokio::test]
async fn what_was_taken_down_comes_back_though_the_tip_may_not_run() {
    for order in [Order::Resume, LOOK] {
        let world = World::new().await;
        let first = world.push("the first");
        // Nothing that an engine would have to make.
        world.release(&first, &[]).await;
        world.deny(&world.push("a bad one")).await;
        world.order(Order::Down).await;
        assert_eq!(world.current().await, None);
        world.order(order).await;
        assert_eq!(world.current().await, Some(first));
        assert_eq!(world.tip(), None, "it waits for no remote");
        let run = world.runs().await.remove(0);
        assert_eq!((run.kind, &*run.reason), (Kind::Rollback, "a person asked"));
        assert_eq!((run.outcome, world.target().await), (Some(Outcome::Succeeded), Target::Branch));
        world.turn().await;
        assert!(world.tip().is_some(), "then the branch is followed again");
        assert_eq!(world.runs().await[0].id, run.id);
    }
}

#[tokio::test]
async fn where_what_was_taken_down_cannot_come_back_the_branch_is_followed() {
    let world = World::with_two_releases().await;
    world.order(Order::Down).await;
    world.order(Order::Resume).await;
    let run = world.runs().await.remove(0);
    assert!(matches!(run.outcome, Some(Outcome::Failed { .. })), "{run:#?}");
    assert_eq!((world.target().await, world.tip()), (Target::Branch, None));
    assert!(world.reconciler.wakes.pending().is_some(), "it does not wait for the next push");
    world.turn().await;
    let run = world.runs().await.remove(0);
    assert_eq!((run.kind, Some(run.revision)), (Kind::Deploy, world.tip()));
}

#[tokio::test]
async fn what_comes_back_before_it_was_down_follows_the_branch() {
    let world = World::with_two_releases().await;
    let Reconciler { record, wakes, .. } = &world.reconciler;
    for order in [Order::Down, Order::Resume] {
        orders::obey(&order, record, wakes, None, journal::now()).await.unwrap();
    }
    world.turn().await;
    assert_eq!(world.target().await, Target::Branch);
}

impl World {
    async fn heals(&self) -> usize {
        self.runs().await.iter().filter(|run| run.kind == Kind::Heal).count()
    }
}

#[tokio::test]
async fn mending_that_fails_is_not_tried_again_in_the_same_turn() {
    let world = World::with_two_releases().await;
    for turns in 1..=2 {
        world.woken(Reason::Drift).await;
        assert_eq!(world.heals().await, turns);
    }
}

#[tokio::test]
async fn mending_that_fails_is_wrong_after_a_poll_too_until_it_is_given_up() {
    let world = World::with_two_releases().await;
    world.woken(Reason::Drift).await;
    for heals in [2, 3, 4, 5, 5, 5] {
        world.woken(Reason::Poll).await;
        assert!(world.reconciler.situation.borrow().wrong.is_some());
        assert_eq!(world.heals().await, heals);
    }
    assert!(world.reconciler.record.degraded().await.unwrap().is_some());
}

#[tokio::test]
async fn a_person_who_says_so_has_it_mended_at_once_after_it_was_given_up() {
    let world = World::with_two_releases().await;
    let given_up = async || world.reconciler.record.degraded().await.unwrap().is_some();
    while !given_up().await {
        world.woken(Reason::Drift).await;
    }
    let heals = world.heals().await;
    world.order(LOOK).await;
    assert_eq!((world.heals().await, given_up().await), (heals, true), "a deploy is no word for that");
    world.order(Order::Retry).await;
    assert_eq!((world.heals().await, given_up().await), (heals + 1, false));
    world.woken(Reason::Drift).await;
    assert!(!given_up().await, "what was tried before counts no more");
}
