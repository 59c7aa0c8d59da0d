//! Orders on a real store: what is written down, and what the record then says.

mod down;
mod taken_back;
mod watched;

use std::collections::BTreeMap;

use super::*;
use crate::model::desired::Desired;
use crate::model::run::{Entry, Failure, Kind, Outcome, RunId, Status};
use crate::record::{self, Degraded, Denial, Live, RecordError, Why};
use crate::store::Store;
use crate::trigger;

struct World {
    _folder: tempfile::TempDir,
    record: Record,
    wakes: Wakes,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let migrations = [trigger::MIGRATIONS, record::MIGRATIONS].concat();
        let store = Store::open(&folder.path().join("agent.db"), &migrations).unwrap();
        let wakes = Wakes::open(store.clone(), "shop").await.unwrap();
        Self { _folder: folder, record: Record::new(store), wakes }
    }

    /// A release made live by a run.
    async fn release(&self, digit: char) -> (RunId, ReleaseId) {
        let desired = desired(digit);
        let run = self.record.begin(Kind::Deploy, &desired.revision, "a change", "a test", 1).await.unwrap();
        self.goes_live(run, Live::New { desired: &desired, subject: "a change", watch: None }, 2).await;
        (run, self.record.current().await.unwrap().unwrap().id)
    }

    async fn goes_live(&self, run: RunId, live: Live<'_>, now: i64) {
        let planned = Entry::Planned { summary: "nothing to do".into() };
        for entry in [planned, Entry::Switching] {
            self.record.append(run, entry, now).await.unwrap();
        }
        self.record.switched(run, live, now).await.unwrap();
    }

    /// A rollback has made it live again.
    async fn is_back_at(&self, id: ReleaseId) {
        let to = self.record.release(id).await.unwrap();
        let run = self.record.begin(Kind::Rollback, &to.revision, "", "", 4).await.unwrap();
        self.goes_live(run, Live::Again(&to), 4).await;
    }

    async fn obey(&self, order: Order) -> Result<String, OrderError> {
        obey(&order, &self.record, &self.wakes, Some(revision('c')), 3).await
    }
}

fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

fn desired(digit: char) -> Desired {
    Desired {
        stack: "shop".into(),
        revision: revision(digit),
        services: BTreeMap::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes: Vec::new(),
        nginx: Default::default(),
    }
}

const BACK: Order = Order::Rollback { release: None, hold: false };

#[tokio::test]
async fn nothing_is_tried_again_while_a_release_is_held_or_the_stack_is_down() {
    let world = World::new().await;
    world.release('a').await;
    world.release('c').await;
    world.obey(BACK).await.unwrap();
    let refused = world.obey(Order::Retry).await.unwrap_err().to_string();
    assert_eq!(refused, "release 1 is held: `agent resume` first");
    assert!(world.record.denial(&revision('c')).await.unwrap().is_some(), "it stays out");
    world.obey(Order::Down).await.unwrap();
    let refused = world.obey(Order::Retry).await.unwrap_err().to_string();
    assert_eq!(refused, "the stack is down: `agent deploy` or `agent resume` brings it back");
    let said = world.obey(Order::Resume).await.unwrap();
    assert_eq!(said, "bringing back release 1, which is still held (once more: agent resume)");
    world.obey(Order::Resume).await.unwrap();
    assert_eq!(world.obey(Order::Retry).await.unwrap(), "trying cccccccccc again");
}

#[tokio::test]
async fn a_rollback_pins_the_release_before_and_denies_the_revision_that_runs() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    world.release('b').await;
    let said = world.obey(BACK).await.unwrap();
    assert_eq!(
        said,
        "going back to release 1 (aaaaaaaaaa); bbbbbbbbbb stays out until the next new commit or `agent resume`"
    );
    let (denied, seen) = (Some(revision('b')), Some(revision('c')));
    let pin = Hold { release: first, hold: false, denied, seen, since: 3 };
    assert_eq!(world.record.target().await.unwrap(), Target::Pinned(pin));
    assert_eq!(world.record.denial(&revision('b')).await.unwrap().unwrap().why, Why::RolledBack);
    assert!(world.wakes.pending().is_some());
}

#[tokio::test]
async fn what_was_pushed_before_a_rollback_lifts_it_only_by_a_persons_word() {
    let world = World::new().await;
    world.release('a').await;
    world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.obey(Order::Deploy { allow_prune: false, despite_freeze: false }).await.unwrap();
    let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("not pinned") };
    assert_eq!((hold.seen, hold.denied), (None, Some(revision('b'))));
}

#[tokio::test]
async fn a_rollback_does_not_choose_what_was_taken_back_before() {
    let world = World::new().await;
    let (_, good) = world.release('a').await;
    world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.is_back_at(good).await;
    world.release('c').await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa)"));

    world.is_back_at(good).await;
    let named = Order::Rollback { release: Some(ReleaseId(2)), hold: false };
    assert!(world.obey(named).await.unwrap().starts_with("going back to release 2 (bbbbbbbbbb)"));
}

#[tokio::test]
async fn what_was_rolled_back_stays_out_though_a_later_commit_had_changed_nothing() {
    let world = World::new().await;
    let (_, good) = world.release('a').await;
    world.release('b').await;
    let asks_nothing = world.record.begin(Kind::Deploy, &revision('c'), "", "", 3).await.unwrap();
    world.record.unchanged(asks_nothing, &revision('c'), 4).await.unwrap();
    world.obey(BACK).await.unwrap();
    assert!(world.record.denial(&revision('b')).await.unwrap().is_some(), "the branch may lead there again");
    world.is_back_at(good).await;
    world.release('d').await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa)"));
}

#[tokio::test]
async fn what_was_rolled_back_twice_is_no_way_back_in_either_of_its_releases() {
    let world = World::new().await;
    let (_, good) = world.release('a').await;
    for order in [Order::Resume, Order::Deploy { allow_prune: false, despite_freeze: false }] {
        world.release('b').await;
        world.obey(BACK).await.unwrap();
        world.is_back_at(good).await;
        world.obey(order).await.unwrap();
    }
    world.release('c').await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa)"));
}

#[tokio::test]
async fn a_good_release_is_a_way_back_though_its_revision_failed_when_it_was_tried_again() {
    let world = World::new().await;
    world.release('a').await;
    // What surrounds it was edited, and did not pass its gate.
    let run = world.record.begin(Kind::Deploy, &revision('a'), "", "", 3).await.unwrap();
    let why = Why::Stalled { failure: Failure::default() };
    world.record.deny(Denial { revision: revision('a'), why, run, at: 3 }).await.unwrap();
    world.release('b').await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa)"));
}

#[tokio::test]
async fn where_all_before_were_taken_back_a_person_names_one() {
    let world = World::new().await;
    world.release('a').await;
    world.release('b').await;
    for id in [1, 2].map(ReleaseId) {
        world.obey(Order::Rollback { release: Some(id), hold: false }).await.unwrap();
        world.is_back_at(id).await;
    }
    let refused = world.obey(BACK).await.unwrap_err().to_string();
    assert_eq!(refused, "every release before 2 was taken back; if 1 is what you want: agent rollback 1");
}

#[tokio::test]
async fn resuming_after_two_rollbacks_follows_the_tip_again() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    let (_, second) = world.release('b').await;
    world.release('c').await;
    for id in [second, first] {
        world.obey(Order::Rollback { release: Some(id), hold: false }).await.unwrap();
        world.is_back_at(id).await;
    }
    world.obey(Order::Resume).await.unwrap();
    assert_eq!(world.record.denial(&revision('c')).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_person_has_ordered_meanwhile_stays() {
    let world = World::new().await;
    let back = Target::Back { release: ReleaseId(1) };
    world.record.set_target(&back).await.unwrap();
    world.obey(Order::Down).await.unwrap();
    assert!(!world.record.exchange_target(&back, &Target::Branch).await.unwrap());
    let down = Target::Down { then: Some(back.into()) };
    assert_eq!(world.record.target().await.unwrap(), down);
    assert!(world.record.exchange_target(&down, &Target::Branch).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
}

#[tokio::test]
async fn what_a_rollback_goes_back_from_is_known_at_the_switch() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    let (run, _) = world.release('b').await;
    // Its old instances still drain.
    assert_eq!(world.record.run(run).await.unwrap().status, Status::Live);
    world.obey(BACK).await.unwrap();
    let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("not pinned") };
    assert_eq!((hold.release, hold.denied), (first, Some(revision('b'))));
}

#[tokio::test]
async fn a_switch_that_the_log_does_not_allow_makes_nothing_live() {
    let world = World::new().await;
    let desired = desired('a');
    let run = world.record.begin(Kind::Deploy, &desired.revision, "", "", 1).await.unwrap();
    let refused =
        world.record.switched(run, Live::New { desired: &desired, subject: "", watch: None }, 2).await;
    assert!(matches!(refused, Err(RecordError::Illegal(_))));
    assert_eq!(world.record.current().await.unwrap(), None);
    assert_eq!(world.record.applied().await.unwrap(), None);
    assert!(world.record.releases().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_mended_stays_the_release_it_was() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    let asks_nothing = world.record.begin(Kind::Deploy, &revision('b'), "", "", 3).await.unwrap();
    world.record.unchanged(asks_nothing, &revision('b'), 4).await.unwrap();
    let run = world.record.begin(Kind::Heal, &revision('a'), "", "", 5).await.unwrap();
    world.goes_live(run, Live::Unreleased, 6).await;
    assert_eq!(world.record.current().await.unwrap().unwrap().id, first);
    assert_eq!(world.record.applied().await.unwrap(), Some(revision('b')));
}

#[tokio::test]
async fn resume_follows_the_branch_and_forgives_what_was_rolled_back() {
    let world = World::new().await;
    assert!(matches!(world.obey(Order::Resume).await, Err(OrderError::NothingHeld)));
    world.release('a').await;
    world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.obey(Order::Resume).await.unwrap();
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    assert_eq!(world.record.denial(&revision('b')).await.unwrap(), None);
}

#[tokio::test]
async fn there_is_no_way_back_from_nothing_from_the_first_or_to_where_one_is() {
    let world = World::new().await;
    assert!(matches!(world.obey(BACK).await, Err(OrderError::NothingLive)));
    let (_, first) = world.release('a').await;
    assert!(matches!(world.obey(BACK).await, Err(OrderError::NoneBefore(id)) if id == first));
    let here = Order::Rollback { release: Some(first), hold: false };
    assert!(matches!(world.obey(here).await, Err(OrderError::AlreadyThere(_))));
    let nowhere = Order::Rollback { release: Some(ReleaseId(9)), hold: false };
    let refused = world.obey(nowhere).await;
    assert!(matches!(refused, Err(OrderError::Record(RecordError::NoRelease(9)))));
}

#[tokio::test]
async fn retry_allows_the_tip_that_failed() {
    let world = World::new().await;
    let why = Why::Stalled { failure: Failure::default() };
    world.record.deny(Denial { revision: revision('c'), why, run: RunId(1), at: 1 }).await.unwrap();
    assert_eq!(world.obey(Order::Retry).await.unwrap(), "trying cccccccccc again");
    assert_eq!(world.record.denial(&revision('c')).await.unwrap(), None);
}

#[tokio::test]
async fn down_stays_down_until_a_deploy_is_ordered() {
    let world = World::new().await;
    world.obey(Order::Down).await.unwrap();
    assert_eq!(world.record.target().await.unwrap(), Target::Down { then: None });
    world.obey(Order::Deploy { allow_prune: true, despite_freeze: false }).await.unwrap();
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    assert!(world.record.prune_allowed(0).await.unwrap());
    world.record.use_prune_allowance().await.unwrap();
    assert!(!world.record.prune_allowed(0).await.unwrap(), "the word counts once");
}

#[tokio::test]
async fn an_illegal_entry_changes_nothing() {
    let world = World::new().await;
    let run = world.record.begin(Kind::Deploy, &revision('a'), "", "", 1).await.unwrap();
    let refused = world.record.append(run, Entry::Switched, 2).await;
    assert!(matches!(refused, Err(RecordError::Illegal(_))));
    assert!(world.record.log(run, 0).await.unwrap().is_empty());
    assert_eq!(world.record.unended().await.unwrap().len(), 1);
    world.record.append(run, Entry::Ended { outcome: Outcome::Interrupted }, 3).await.unwrap();
    assert!(world.record.unended().await.unwrap().is_empty());
}

#[tokio::test]
async fn pruning_keeps_the_newest_the_current_and_the_pinned_release() {
    let world = World::new().await;
    for digit in ['a', 'b', 'c', 'd', 'e'] {
        world.release(digit).await;
    }
    let (first, second) = (world.record.release(ReleaseId(1)).await.unwrap(), ReleaseId(2));
    let run = world.record.begin(Kind::Rollback, &revision('a'), "", "", 4).await.unwrap();
    world.goes_live(run, Live::Again(&first), 5).await;
    world.record.prune_releases(2, Some(second)).await.unwrap();
    let left: Vec<i64> = world.record.releases().await.unwrap().iter().map(|release| release.id.0).collect();
    assert_eq!(left, [5, 4, 2, 1]);
}

#[tokio::test]
async fn a_pause_keeps_out_what_is_not_meant_to_undo() {
    let world = World::new().await;
    world.release('a').await;
    world.release('b').await;
    world.obey(Order::Pause { millis: Some(10) }).await.unwrap();
    let pause = Pause { since: 3, until: Some(13) };
    assert_eq!(world.record.paused(12).await.unwrap(), Some(pause));
    assert_eq!(world.record.paused(13).await.unwrap(), None);
    for order in [Order::Deploy { allow_prune: false, despite_freeze: false }, Order::Retry] {
        assert!(matches!(world.obey(order).await, Err(OrderError::Paused)));
    }
    world.obey(BACK).await.unwrap();
    let said = world.obey(Order::Resume).await.unwrap();
    assert_eq!(said, "no longer paused; release 1 is still held (once more: agent resume)");
    assert_eq!(world.record.paused(3).await.unwrap(), None);
    assert_eq!(world.obey(Order::Resume).await.unwrap(), "following the branch again");
}

#[tokio::test]
async fn retry_mends_again_what_was_given_up() {
    let world = World::new().await;
    world.release('a').await;
    let degraded = Degraded { since: 2, services: vec!["web".into()] };
    world.record.degrade(&degraded).await.unwrap();
    let why = Why::WentBad { failure: Failure::default() };
    world.record.deny(Denial { revision: revision('c'), why, run: RunId(1), at: 1 }).await.unwrap();
    assert_eq!(world.obey(Order::Retry).await.unwrap(), "mending web again");
    assert_eq!(world.record.degraded().await.unwrap(), None);
    assert!(world.record.denial(&revision('c')).await.unwrap().is_some(), "the tip is left alone");
    assert_eq!(world.obey(Order::Retry).await.unwrap(), "trying cccccccccc again");
    world.record.degrade(&degraded).await.unwrap();
    world.release('b').await;
    assert_eq!(world.record.degraded().await.unwrap(), None, "a new release begins anew");
}

#[tokio::test]
async fn what_came_again_after_a_rollback_is_no_way_back_from_itself() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    world.release('b').await;
    // Rolled back, resumed, and live once more.
    world.release('b').await;
    world.obey(Order::Rollback { release: None, hold: false }).await.unwrap();
    let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("no pin") };
    assert_eq!((hold.release, hold.denied), (first, Some(revision('b'))));
}

#[tokio::test]
async fn the_word_that_allows_to_prune_is_forgotten_in_time() {
    let world = World::new().await;
    world.obey(Order::Deploy { allow_prune: true, despite_freeze: false }).await.unwrap();
    assert!(!world.record.prune_allowed(3 + A_WORD_COUNTS).await.unwrap());
    assert!(world.record.prune_allowed(2 + A_WORD_COUNTS).await.unwrap());
}
