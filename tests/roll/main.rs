//! Acts of `roll` by themselves, on a real Docker Engine: what becomes of containers and their data when the log cannot
//! be written or the engine does not answer just then. Needs the image `agenttest-base:1` (`script/bootstrap --test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod site;

use std::time::{Duration, Instant};

use agent::model::instance::Phase;
use agent::model::run::Entry;
use agent::plan::diff::OldInstance;
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
        let old = OldInstance { id, name: there.name.clone(), serving: there.running(), of: None };
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
