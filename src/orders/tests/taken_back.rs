//! Which releases a rollback without a number leaves out, whatever became of the denial of their revisions.

use super::watched::stack;
use super::*;

/// Rolled back without a number: to which release.
async fn chosen(world: &World) -> ReleaseId {
    world.obey(BACK).await.unwrap();
    let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("not pinned") };
    hold.release
}

#[tokio::test]
async fn what_was_taken_back_stays_so_when_its_revision_is_tried_again_and_fails() {
    let world = World::new().await;
    let (_, good) = world.release('a').await;
    world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.is_back_at(good).await;
    world.obey(Order::Resume).await.unwrap();
    let run = world.record.begin(Kind::Deploy, &revision('b'), "", "", 5).await.unwrap();
    let why = Why::Stalled { failure: Failure::default() };
    world.record.deny(Denial { revision: revision('b'), why, run, at: 5 }).await.unwrap();
    world.release('c').await;
    assert_eq!(chosen(&world).await, good);
}

#[tokio::test]
async fn what_was_rolled_back_to_another_release_of_its_revision_is_no_way_back() {
    let world = World::new().await;
    let (_, good) = world.release('a').await;
    world.rolls_first(&stack('b', &[("web", "1")])).await;
    // The same with another `env_file`.
    world.rolls_first(&stack('b', &[("web", "2")])).await;
    for before in [ReleaseId(2), good] {
        assert_eq!(chosen(&world).await, before);
        world.is_back_at(before).await;
    }
    world.release('c').await;
    assert_eq!(chosen(&world).await, good);
}

#[tokio::test]
async fn of_two_releases_of_a_revision_that_turned_bad_neither_is_a_way_back() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    let watch = world.rolls(&stack('b', &[("api", "2"), ("web", "2")]), &["api"], 2_000).await;
    let failure = Failure { service: Some("web".into()), ..Failure::default() };
    assert!(world.record.go_back(&watch, failure, 3_000).await.unwrap());
    world.is_back_at(ReleaseId(1)).await;
    world.rolls_first(&stack('c', &[("api", "3"), ("web", "3")])).await;
    assert_eq!(chosen(&world).await, ReleaseId(1));
}

#[tokio::test]
async fn what_a_person_brought_back_by_its_number_is_a_way_back() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    let (_, named) = world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.is_back_at(first).await;
    world.obey(Order::Rollback { release: Some(named), hold: false }).await.unwrap();
    world.is_back_at(named).await;
    world.release('c').await;
    assert_eq!(chosen(&world).await, named);
}

#[tokio::test]
async fn what_came_again_after_it_was_taken_back_and_stayed_is_a_way_back() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.is_back_at(first).await;
    world.obey(Order::Resume).await.unwrap();
    let (_, again) = world.release('b').await;
    world.release('c').await;
    assert_eq!(chosen(&world).await, again);
}

#[tokio::test]
async fn what_stayed_because_a_rollback_was_called_off_is_a_way_back() {
    let world = World::new().await;
    world.release('a').await;
    let (_, stayed) = world.release('b').await;
    world.obey(BACK).await.unwrap();
    world.obey(Order::Resume).await.unwrap();
    world.release('c').await;
    assert_eq!(chosen(&world).await, stayed);
}

#[tokio::test]
async fn what_the_way_back_passed_over_is_no_way_back() {
    let world = World::new().await;
    for (digit, web) in [('a', "1"), ('b', "2"), ('c', "3")] {
        world.rolls_first(&stack(digit, &[("web", web)])).await;
    }
    world.obey(Order::Rollback { release: Some(ReleaseId(1)), hold: false }).await.unwrap();
    world.is_back_at(ReleaseId(1)).await;
    world.obey(Order::Resume).await.unwrap();
    world.rolls(&stack('d', &[("web", "4")]), &["web"], 1_000).await;
    let watch = world.rolls(&stack('e', &[("web", "5")]), &["web"], 20_000).await;
    assert!(world.record.go_back(&watch, Failure::default(), 30_000).await.unwrap());
    assert_eq!(world.record.taken_back().await.unwrap(), [3, 4, 5].map(ReleaseId).into());
    let before = world.record.denial(&revision('d')).await.unwrap();
    assert_eq!(before, None, "it may come again, and is watched then");
    world.is_back_at(ReleaseId(1)).await;
    world.rolls(&stack('f', &[("web", "6")]), &["web"], 90_000).await;
    assert_eq!(chosen(&world).await, ReleaseId(2));
}

#[tokio::test]
async fn what_was_taken_back_does_not_push_out_what_was_good() {
    let world = World::new().await;
    let good = [world.release('a').await.1, world.release('b').await.1];
    for digit in ['c', 'd', 'e'] {
        world.release(digit).await;
        world.obey(BACK).await.unwrap();
        world.is_back_at(good[1]).await;
    }
    world.release('f').await;
    world.record.prune_releases(3, None).await.unwrap();
    let left: Vec<i64> = world.record.releases().await.unwrap().iter().map(|release| release.id.0).collect();
    assert_eq!(left, [6, 5, 4, 2, 1]);
    world.record.prune_releases(2, None).await.unwrap();
    assert_eq!(chosen(&world).await, good[1]);
}

#[tokio::test]
async fn that_a_release_was_taken_back_is_forgotten_with_it() {
    let world = World::new().await;
    world.release('a').await;
    let (_, back) = world.release('b').await;
    world.obey(BACK).await.unwrap();
    assert_eq!(world.record.taken_back().await.unwrap(), [back].into());
    world.release('c').await;
    world.record.prune_releases(1, None).await.unwrap();
    assert_eq!(world.record.taken_back().await.unwrap(), [].into());
}

#[tokio::test]
async fn what_was_taken_back_stays_so_when_it_comes_back_because_what_followed_turned_bad() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("web", "1")])).await;
    world.rolls_first(&stack('b', &[("web", "2")])).await;
    // Not reached before the next commit.
    assert_eq!(chosen(&world).await, ReleaseId(1));
    world.record.set_target(&Target::Branch).await.unwrap();
    let watch = world.rolls(&stack('c', &[("web", "3")]), &["web"], 1_000).await;
    assert!(world.record.go_back(&watch, Failure::default(), 2_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(2) });
    world.is_back_at(ReleaseId(2)).await;
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    world.rolls(&stack('d', &[("web", "4")]), &["web"], 90_000).await;
    assert_eq!(chosen(&world).await, ReleaseId(1));
}

#[tokio::test]
async fn what_turned_bad_stays_so_when_it_was_taken_down_and_comes_back() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("web", "1")])).await;
    let watch = world.rolls(&stack('b', &[("web", "2")]), &["web"], 1_000).await;
    assert!(world.record.go_back(&watch, Failure::default(), 2_000).await.unwrap());
    // It could not give way.
    world.record.set_target(&Target::Branch).await.unwrap();
    world.obey(Order::Down).await.unwrap();
    world.record.forget_current().await.unwrap();
    assert_eq!(world.obey(Order::Resume).await.unwrap(), "bringing back release 2");
    world.is_back_at(ReleaseId(2)).await;
    world.rolls(&stack('c', &[("web", "3")]), &["web"], 90_000).await;
    assert_eq!(chosen(&world).await, ReleaseId(1));
}
