//! What is known of a stack that was taken down, and what comes back.

use super::watched::watched;
use super::*;

const LOOK: Order = Order::Deploy { allow_prune: false, despite_freeze: false };

impl World {
    /// Ordered and done.
    async fn taken_down(&self) {
        self.obey(Order::Down).await.unwrap();
        self.record.forget_current().await.unwrap();
    }
}

#[tokio::test]
async fn what_ran_when_the_stack_was_taken_down_is_what_comes_back() {
    for order in [Order::Resume, LOOK] {
        let world = World::new().await;
        let (_, first) = world.release('a').await;
        world.taken_down().await;
        world.obey(Order::Down).await.unwrap();
        assert_eq!(world.obey(order).await.unwrap(), "bringing back release 1");
        assert_eq!(world.record.target().await.unwrap(), Target::Back { release: first });
        world.is_back_at(first).await;
        assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    }
}

#[tokio::test]
async fn what_was_held_is_held_when_it_comes_back() {
    for order in [Order::Resume, LOOK] {
        let world = World::new().await;
        let (_, first) = world.release('a').await;
        world.release('b').await;
        world.obey(Order::Rollback { release: None, hold: true }).await.unwrap();
        world.is_back_at(first).await;
        let held = world.record.target().await.unwrap();
        world.taken_down().await;
        world.obey(order).await.unwrap();
        assert_eq!(world.record.target().await.unwrap(), held);
        assert!(world.record.denial(&revision('b')).await.unwrap().is_some(), "it stays out");
    }
}

#[tokio::test]
async fn what_an_older_agent_has_taken_down_is_brought_back_by_the_branch() {
    let world = World::new().await;
    world.release('a').await;
    world.record.set_fact("target", &serde_json::json!({ "target": "down" })).await.unwrap();
    assert_eq!(world.obey(Order::Resume).await.unwrap(), "following the branch again");
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
}

#[tokio::test]
async fn while_the_stack_is_down_a_person_goes_back_from_what_ran() {
    let world = World::new().await;
    let (_, first) = world.release('a').await;
    let (_, second) = world.release('b').await;
    world.taken_down().await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa); bbbbbbbbbb"));
    let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("not pinned") };
    assert_eq!((hold.release, hold.denied), (first, Some(revision('b'))));
    assert_eq!(world.record.taken_back().await.unwrap(), [second].into());
}

#[tokio::test]
async fn while_the_stack_is_down_a_person_may_choose_any_release() {
    for (release, denied) in [(1, Some(revision('b'))), (2, None)] {
        let world = World::new().await;
        world.release('a').await;
        world.release('b').await;
        world.taken_down().await;
        world.obey(Order::Rollback { release: Some(ReleaseId(release)), hold: false }).await.unwrap();
        let Target::Pinned(hold) = world.record.target().await.unwrap() else { panic!("not pinned") };
        assert_eq!((hold.release, &hold.denied), (ReleaseId(release), &denied));
        assert_eq!(world.record.taken_back().await.unwrap().len(), denied.iter().count());
    }
    // Nothing is known of what ran.
    let world = World::new().await;
    world.release('a').await;
    world.record.forget_current().await.unwrap();
    assert!(matches!(world.obey(BACK).await, Err(OrderError::NothingLive)));
    let named = Order::Rollback { release: Some(ReleaseId(1)), hold: false };
    assert_eq!(world.obey(named).await.unwrap(), "going back to release 1 (aaaaaaaaaa)");
}

#[tokio::test]
async fn what_turns_bad_just_as_the_stack_is_taken_down_does_not_come_back() {
    for _ in 0..20 {
        let world = World::new().await;
        let (watch, good) = watched(&world).await;
        let bad = world.record.current().await.unwrap().unwrap().id;
        let (gave_way, down) =
            tokio::join!(world.record.go_back(&watch, Failure::default(), 5), world.obey(Order::Down));
        down.unwrap();
        let release = if gave_way.unwrap() { good } else { bad };
        let then = Some(Target::Back { release }.into());
        assert_eq!(world.record.target().await.unwrap(), Target::Down { then });
    }
}
