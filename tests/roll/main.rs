//! Acts of `roll` by themselves, on a real Docker Engine: what becomes of containers and their data when the log cannot
//! be written or the engine does not answer just then. Needs the image `agenttest-base:1` (`script/bootstrap --test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod site;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use agent::engine::Engine;
use agent::model::desired::{Order, Probe, ProbeKind};
use agent::model::instance::{MountSpec, Phase, RestartSpec};
use agent::model::run::{Entry, RunId};
use agent::plan::diff::OldInstance;
use agent::plan::diff::Roll;
use agent::roll::{RollError, Rolling, retire, revert};

use site::{Log, Site, service};

/// It writes down that it has come to its end.
const MIGRATE: &str = "sleep 2; touch /out/done";

fn is_left_to_end(entry: &Entry) -> bool {
    matches!(entry, Entry::Note { text } if text.ends_with("is left to end what it does"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_shot_is_not_cut_off_by_a_log_that_cannot_be_written() {
    let site = Site::new("full").await;
    let once = service(&site.template(MIGRATE), true);
    site.start(&once).await;
    let (desired, log) = (site.desired(&once), Log(|_: &Entry| false));
    let reverted = revert(&site.rolling(&site.engine, &log, &desired, &site.plan(Vec::new())), None).await;
    assert!(matches!(reverted, Err(RollError::Journal(_))), "{reverted:?}");
    assert!(site.is_done());
    assert_eq!(site.instances().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_shot_is_not_cut_off_by_an_engine_that_does_not_answer_for_a_moment() {
    let site = Site::new("moment").await;
    let once = service(&site.template(MIGRATE), true);
    site.start(&once).await;
    let (flaky, silence) = site.flaky().await;
    let log = Log(|entry: &Entry| {
        if is_left_to_end(entry) {
            silence.begin(Duration::from_secs(1));
        }
        true
    });
    let desired = site.desired(&once);
    let reverted = revert(&site.rolling(&flaky, &log, &desired, &site.plan(Vec::new())), None).await;
    assert!(matches!(reverted, Ok(false)), "{reverted:?}");
    assert!(site.is_done());
    assert_eq!(site.instances().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_shot_is_not_cut_off_because_it_could_not_be_looked_at() {
    let site = Site::new("look").await;
    let once = service(&site.template(MIGRATE), true);
    site.start(&once).await;
    let (desired, log) = (site.desired(&once), Log(|_: &Entry| true));
    let reverted =
        revert(&site.rolling(&site.engine, &log, &desired, &site.plan(Vec::new())), Some("once")).await;
    assert!(matches!(reverted, Ok(true)), "{reverted:?}");
    assert!(site.is_done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_shot_whose_time_is_over_has_no_more() {
    let site = Site::new("late").await;
    let mut once = service(&site.template("trap 'exit 3' TERM; sleep 3600 & wait"), true);
    once.gate.timeout = Duration::from_secs(5);
    site.start(&once).await;
    tokio::time::sleep(once.gate.timeout).await;
    let (desired, begin) = (site.desired(&once), Instant::now());
    let log = Log(|_: &Entry| true);
    revert(&site.rolling(&site.engine, &log, &desired, &site.plan(Vec::new())), Some("once")).await.unwrap();
    assert!(begin.elapsed() < once.gate.timeout, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_one_shot_kept_to_itself_goes_with_it() {
    let site = Site::new("data").await;
    let (worker, once) = (site.keeping("sleep 3600"), site.keeping("true"));
    for (was, stays) in [(service(&worker, false), true), (service(&once, true), false)] {
        let id = site.start(&was).await;
        site.until(&id, |phase| was.one_shot == matches!(phase, Phase::Exited(0))).await;
        let there = site.instances().await.remove(0);
        let (before, desired) = (site.desired(&was), site.desired(&service(&once, true)));
        let old = OldInstance {
            id,
            name: there.name.clone(),
            serving: there.running(),
            restarting: false,
            one_shot: was.one_shot,
            of: None,
        };
        let log = Log(|_: &Entry| true);
        let plan = site.plan(vec![old]);
        let rolling = site.rolling(&site.engine, &log, &desired, &plan);
        retire(&Rolling { before: Some(&before), ..rolling }, Duration::ZERO).await.unwrap();
        assert_eq!(site.instances().await, []);
        let volume = &there.volumes["/data"];
        assert_eq!(site.has_volume(volume), stays, "{:?}", was.template.command);
        site.drop_volume(volume);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_back_to_what_cannot_start_and_the_run_ends_all_the_same() {
    let site = Site::new("never").await;
    let (volume, folder) = site.bound_volume();
    let mount = MountSpec::Volume {
        name: Some(volume.clone()),
        target: "/data".into(),
        read_only: false,
        nocopy: false,
    };
    let mut was = service(&site.template("sleep 3600"), false);
    was.template.mounts = vec![mount];
    let id = site.start_in(&was, RunId(6)).await;
    site.engine.stop(&id).await.unwrap();
    std::fs::remove_dir(&folder).unwrap();
    let name = site.instances().await.remove(0).name;
    let old = OldInstance { id, name, serving: true, restarting: false, one_shot: false, of: None };
    let (desired, plan, told) = (site.desired(&was), site.plan(vec![old]), Mutex::new(Vec::new()));
    let log = Log(|entry: &Entry| {
        told.lock().unwrap().push(entry.clone());
        true
    });
    let reverted = revert(&site.rolling(&site.engine, &log, &desired, &plan), None).await;
    assert!(matches!(reverted, Ok(false)), "{reverted:?}");
    assert_eq!(site.let_back(), [""; 0]);
    let told = told.into_inner().unwrap();
    let never = "once could not be started again: ";
    assert!(matches!(&told[..], [Entry::Note { text }] if text.starts_with(never)), "{told:?}");
    drop(site);
    Site::new("never").await.drop_volume(&volume);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_starts_again_and_again_is_put_back_to_be_so() {
    let site = Site::new("again").await;
    let mut was = service(&site.template("exit 1"), false);
    was.template.restart = RestartSpec { policy: "always".into(), max_retries: 0 };
    let id = site.start_in(&was, RunId(6)).await;
    site.until(&id, |phase| phase == Phase::Restarting).await;
    site.engine.keep_up(&id, &RestartSpec::never()).await.unwrap();
    site.engine.stop(&id).await.unwrap();
    let there = site.instances().await.remove(0);
    assert!(there.ended() && there.let_lie, "{there:?}");
    let old =
        OldInstance { id, name: there.name, serving: false, restarting: true, one_shot: false, of: None };
    let mut plan = site.plan(vec![old]);
    plan.rolls[0].order = Order::StopFirst;
    let (desired, log) = (site.desired(&was), Log(|_: &Entry| true));
    revert(&site.rolling(&site.engine, &log, &desired, &plan), None).await.unwrap();
    let there = site.instances().await.remove(0);
    assert!(!there.let_lie && there.condition.started_at > Some(0), "{there:?}");
    site.until(&there.id, |phase| phase == Phase::Restarting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_agent_had_begun_to_stop_is_not_taken_for_running() {
    let site = Site::new("begun").await;
    let mut was = service(&site.template("trap : TERM; touch /out/up; while :; do sleep 1; done"), false);
    was.template.restart = RestartSpec { policy: "always".into(), max_retries: 0 };
    was.template.stop_grace_seconds = 3;
    let id = site.start_in(&was, RunId(6)).await;
    site.until_there("up").await;
    let before = site.instances().await.remove(0);
    site.engine.keep_up(&id, &RestartSpec::never()).await.unwrap();
    let engine = site.engine.clone();
    tokio::spawn(async move { engine.stop(&id).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let old = OldInstance {
        id: before.id.clone(),
        name: before.name,
        serving: true,
        restarting: false,
        one_shot: false,
        of: None,
    };
    let mut plan = site.plan(vec![old]);
    plan.rolls[0].order = Order::StopFirst;
    let (desired, log) = (site.desired(&was), Log(|_: &Entry| true));
    let cut_off = Some(before.condition.started_at.unwrap() + 1);
    let rolling = site.rolling(&site.engine, &log, &desired, &plan);
    let rolling = Rolling { before: Some(&desired), cut_off, ..rolling };
    revert(&rolling, None).await.unwrap();
    let there = site.instances().await.remove(0);
    assert!(there.running() && !there.let_lie, "{there:?}");
    assert!(there.condition.started_at > before.condition.started_at);
    // What is there again is not stopped once more, whatever could not be written down of it.
    site.engine.keep_up(&there.id, &RestartSpec::never()).await.unwrap();
    revert(&rolling, None).await.unwrap();
    let again = site.instances().await.remove(0);
    assert_eq!(again.condition.started_at, there.condition.started_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_the_data_of_another_ends_before_that_one_has_it_again() {
    let site = Site::new("taker").await;
    let ends = "trap 'sleep 0.5; touch /out/done; exit' TERM; touch /out/up; sleep 3600 & wait";
    let mut taker = service(&site.template(ends), false);
    taker.template.stop_grace_seconds = 5;
    taker.gate.probe = Some(Probe { kind: ProbeKind::Http { path: "/".into(), host: None }, port: 80 });
    site.start(&taker).await;
    site.until_there("up").await;
    let (mut plan, desired) = (site.plan(Vec::new()), site.desired(&taker));
    let giver =
        Roll { service: "giver".into(), frees_for: ["once".to_owned()].into(), ..plan.rolls[0].clone() };
    plan.rolls.push(giver);
    let log = Log(|_: &Entry| true);
    revert(&site.rolling(&site.engine, &log, &desired, &plan), None).await.unwrap();
    assert!(site.is_done());
}
