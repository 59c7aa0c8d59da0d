//! A small shop's days: two releases, a superseded push, a failed one, a rollback.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tempfile::TempDir;

use crate::config::Config;
use crate::model::Revision;
use crate::model::desired::{Desired, Gate, Order, Service};
use crate::model::instance::{Condition, Health, ImageRef, Instance, InstanceId, Observed, Phase, Template};
use crate::model::place::Place;
use crate::model::route::Route;
use crate::model::run::{Entry, Failure, Kind, Outcome, ReleaseId, RunId};
use crate::plan::diff::{Build, NewInstance, OldInstance, Plan, Removal, Roll};
use crate::record::{Denial, Hold, Live, Record, Watched, Why};
use crate::store::Store;

/// 2026-11-22 14:02:00 UTC, in milliseconds.
pub(crate) const AT: i64 = 1_795_356_120_000;
/// Two hours later: when people look.
const NOW: i64 = AT + 2 * 3_600_000;

pub(crate) struct Story {
    pub(crate) config: Config,
    pub(crate) record: Record,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl Story {
    /// The agent has never run.
    pub(crate) fn nothing() -> Self {
        let mut story = Self::begun();
        story.config.state = story.config.state.join("never");
        story
    }

    fn begun() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { state: folder.path().to_owned(), ..Config::default() };
        config.stack.name = "shop".into();
        let tables = crate::app::migrations();
        let store = Store::open(&folder.path().join("agent.db"), &tables).unwrap();
        Self { config, record: Record::new(store.clone()), store, _folder: folder }
    }

    /// Two releases.
    pub(crate) async fn live() -> Self {
        let story = Self::begun();
        let days_ago = AT - 12 * 86_400_000;
        story.succeed('a', "Sell things", "the agent started", days_ago).await;
        story.succeed('b', "Fix the cart when it is empty and somebody pays", "webhook 72d3162e", AT).await;
        story
    }

    /// Then a push that was overtaken, and one whose app exits.
    pub(crate) async fn failed() -> Self {
        let story = Self::live().await;
        let at = AT + 3_600_000;
        let run = story.begin(Kind::Deploy, 'c', "Try a faster checkout", "the timer", at).await;
        let by = revision('d').to_string();
        story.write(run, at + 400, Entry::Ended { outcome: Outcome::Superseded { by } }).await;
        let at = at + 1_000;
        let run = story.begin(Kind::Deploy, 'd', "Sell more", "webhook 8a1f", at).await;
        story.record.keep_intent(run, &plan('d'), &desired('d')).await.unwrap();
        story.write(run, at + 200, Entry::Planned { summary: "1 to build; flask-soft".into() }).await;
        story.write(run, at + 300, Entry::Building { tag: "shop-flask-soft:4f5e".into() }).await;
        story.write(run, at + 4300, Entry::Built { tag: "shop-flask-soft:4f5e".into(), millis: 4000 }).await;
        story.write(run, at + 4400, bringing_up()).await;
        let reason = "it exited with code 1".to_owned();
        story.write(run, at + 5400, Entry::Reverting { reason }).await;
        let outcome = Outcome::Failed { reason: failure() };
        story.write(run, at + 5500, Entry::Ended { outcome }).await;
        let why = Why::Stalled { failure: failure() };
        story.record.deny(Denial { revision: revision('d'), why, run, at: at + 5500 }).await.unwrap();
        story
    }

    /// Then a person who goes back.
    pub(crate) async fn rolled_back() -> Self {
        let story = Self::failed().await;
        let at = AT + 4_000_000;
        let first = story.record.release(ReleaseId(1)).await.unwrap();
        let denied = Some(revision('b'));
        let hold = Hold { release: first.id, hold: false, denied, seen: None, since: at };
        story.record.pin(hold, RunId(2), None).await.unwrap();
        let run = story.begin(Kind::Rollback, 'a', "Sell things", "a person asked", at).await;
        story.goes_live(run, Live::Again(&first), at + 900).await;
        story
    }

    /// Two releases, and a third that has been live for twelve seconds of the minute it is watched.
    pub(crate) async fn watched() -> Self {
        let story = Self::live().await;
        let at = NOW - 12_000;
        let run = story.begin(Kind::Deploy, 'c', "Sell more", "webhook 8a1f", at - 3_000).await;
        story.record.keep_intent(run, &plan('c'), &desired('c')).await.unwrap();
        let services = ["flask-soft".to_owned()].into();
        let watch = Some(Watched { services, long: 60_000 });
        story.goes_live(run, Live::New { desired: &desired('c'), subject: "Sell more", watch }, at).await;
        story
    }

    /// The third turned bad …
    pub(crate) async fn went_bad() -> Self {
        let story = Self::watched().await;
        let watch = story.record.watch().await.unwrap().unwrap();
        let failure = Failure {
            message:
                "went bad 4 s after it was live: 12 of its 20 answers within 10 s were server errors, 60 % \
                (0 % of 340 in the minute before the switch)"
                    .into(),
            hint: Some("mend it and push; to try it again as it is: agent retry".into()),
            ..failure()
        };
        assert!(story.record.go_back(&watch, failure, NOW - 8_000).await.unwrap());
        story
    }

    /// … and the second is back.
    pub(crate) async fn reverted() -> Self {
        let story = Self::went_bad().await;
        let second = story.record.release(ReleaseId(2)).await.unwrap();
        let run = story.begin(Kind::Revert, 'b', "Fix the cart", "cccccccccc went bad", NOW - 7_500).await;
        story.goes_live(run, Live::Again(&second), NOW - 7_000).await;
        story
    }

    /// Then a fourth that is good.
    pub(crate) async fn good_again() -> Self {
        let story = Self::reverted().await;
        story.succeed('e', "Sell more, and charge for it", "webhook 9c", NOW - 2_000).await;
        story
    }

    pub(crate) async fn heal(&self) {
        let at = AT + 5_000_000;
        let run = self.begin(Kind::Heal, 'b', "Fix the cart", "something on the machine changed", at).await;
        self.write(run, at + 100, Entry::Ended { outcome: Outcome::Succeeded }).await;
    }

    pub(crate) async fn begin_bringing_up(&self) {
        let at = AT + 2 * 3_600_000 - 12_000;
        let run = self.begin(Kind::Deploy, 'e', "Sell even more", "webhook 9c", at).await;
        self.write(run, at, Entry::Planned { summary: "0 to build; flask-soft".into() }).await;
        self.write(run, at, bringing_up()).await;
    }

    async fn succeed(&self, digit: char, subject: &str, reason: &str, at: i64) {
        let run = self.begin(Kind::Deploy, digit, subject, reason, at - 8_400).await;
        self.goes_live(run, Live::New { desired: &desired(digit), subject, watch: None }, at).await;
    }

    async fn goes_live(&self, run: RunId, live: Live<'_>, at: i64) {
        self.write(run, at, Entry::Planned { summary: "0 to build; flask-soft".into() }).await;
        self.write(run, at, Entry::Switching).await;
        self.record.switched(run, live, at).await.unwrap();
        self.write(run, at, Entry::Ended { outcome: Outcome::Succeeded }).await;
    }

    async fn begin(&self, kind: Kind, digit: char, subject: &str, reason: &str, at: i64) -> RunId {
        self.record.begin(kind, &revision(digit), subject, reason, at).await.unwrap()
    }

    async fn write(&self, run: RunId, at: i64, entry: Entry) {
        self.record.append(run, entry, at).await.unwrap();
    }
}

pub(crate) fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

fn bringing_up() -> Entry {
    let (service, name) = ("flask-soft".to_owned(), "shop-flask-soft-3".to_owned());
    Entry::BringingUp { service, name, order: "start-first".into() }
}

fn failure() -> Failure {
    Failure {
        service: Some("flask-soft".into()),
        message: "it exited with code 1".into(),
        hint: Some("mend it and push".into()),
        // Colours and a bell, as apps do.
        log: "Traceback (most recent call last):\n  \u{1b}[31mImportError\u{1b}[0m: no module named stripe\u{7}"
            .into(),
    }
}

fn desired(digit: char) -> Desired {
    let services = [service("flask-soft", false), service("migrate", true), service("nginx", false)];
    Desired {
        stack: "shop".into(),
        revision: revision(digit),
        services: services.map(|service| (service.template.service.clone(), service)).into(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes: vec![route("/", 5001, None), route("/pay/", 80, Some("shop.example.com"))],
        nginx: Default::default(),
    }
}

fn service(name: &str, one_shot: bool) -> Service {
    let image = ImageRef { name: format!("shop-{name}:1a2b"), id: "sha256:77".into() };
    let environment = BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Service {
        template: Template { service: name.into(), image, environment, ..Template::default() },
        order_reason: "nothing stands against two instances side by side".into(),
        gate: Gate {
            health: true,
            probe: None,
            settle: Duration::from_secs(3),
            timeout: Duration::from_secs(60),
        },
        one_shot,
        proxy: name == "nginx",
        ..Service::plain(name, "f")
    }
}

fn route(path: &str, listen: u16, host: Option<&str>) -> Route {
    let place = Place::new("stack/compose.yaml", 1, 1);
    Route { place, listen, host: host.map(str::to_owned), ..Route::plain("flask-soft", path) }
}

pub(crate) fn plan(digit: char) -> Plan {
    let old = |name: &str| OldInstance {
        id: InstanceId("1".repeat(64)),
        name: name.into(),
        serving: true,
        restarting: false,
        one_shot: false,
        of: None,
    };
    Plan {
        revision: revision(digit),
        builds: vec![Build { tag: "shop-flask-soft:4f5e".into(), services: vec!["flask-soft".into()] }],
        rolls: vec![Roll {
            service: "flask-soft".into(),
            reason: "image changed".into(),
            order: Order::StartFirst,
            order_reason: "nothing stands against two instances side by side".into(),
            wave: 0,
            new: vec![NewInstance { number: 3, addresses: BTreeMap::new(), volumes: BTreeMap::new() }],
            old: vec![old("shop-flask-soft-2")],
            frees_for: Default::default(),
        }],
        removals: vec![Removal {
            service: "worker".into(),
            reason: "no longer in the stack".into(),
            old: vec![old("shop-worker-1")],
        }],
        refreshes: Vec::new(),
        unchanged: vec!["migrate".into(), "nginx".into()],
        drift: vec!["shop-nginx-1 was stopped by hand".into()],
        addresses: BTreeMap::from([("shop_default".to_owned(), Ipv4Addr::new(172, 20, 0, 9))]),
    }
}

/// nginx has no container, the migration is done, and what nobody asked for any more is still there.
pub(crate) fn observed() -> Observed {
    let instance = |service: &str, run: i64, phase, health, restarts| Instance {
        id: InstanceId("1".repeat(64)),
        run: RunId(run),
        revision: revision('b').to_string(),
        image_id: "sha256:77".into(),
        condition: Condition { health, restarts, ..Condition::plain(phase) },
        ..Instance::plain(service, 2, phase)
    };
    Observed {
        instances: vec![
            instance("flask-soft", 2, Phase::Running, Some(Health::Healthy), 0),
            instance("migrate", 1, Phase::Exited(0), None, 0),
            instance("worker", 77, Phase::Restarting, None, 3),
        ],
        ..Observed::default()
    }
}
