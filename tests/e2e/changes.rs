//! A push is live, and nothing else has moved.

use std::time::Duration;

use agent::model::run::Outcome;

use crate::stack::{API, WEB};
use crate::world::World;

#[test]
fn a_push_builds_and_replaces_only_what_changed() {
    let world = World::live_at_once();
    let before = world.running();
    let client = world.client();
    let revision = world.push_version("web", 2);
    world.deliver(&revision);
    let run = world.live(&revision);
    client.all_good(&["web 1", "web 2", "api 1"]);

    assert_eq!(world.says(WEB), "web 2");
    assert_eq!(world.says(API), "api 1");
    let built = world.built(&run);
    assert!(
        matches!(built.as_slice(), [tag] if tag.starts_with(&format!("{}-web:", world.name))),
        "{built:?}"
    );
    let after = world.running();
    assert_eq!((&before["api"], &before["nginx"]), (&after["api"], &after["nginx"]));
    assert_ne!(before["web"], after["web"]);
    assert_eq!(after["web"].len(), 1);
}

#[test]
fn a_commit_that_no_service_sees_touches_nothing() {
    let world = World::live_at_once();
    let before = world.running();
    let revision = world.repo.change("README.md", "hello\n");
    world.deliver(&revision);
    let run = world.live(&revision);
    assert_eq!(run.outcome, Some(Outcome::Unchanged));
    assert_eq!(world.built(&run), [""; 0]);
    assert_eq!(world.running(), before);
}

#[test]
fn a_reverted_commit_is_live_without_a_build() {
    let world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    world.repo.git(&["revert", "--no-edit", "HEAD"]);
    let reverted = world.repo.push("nothing more");
    world.deliver(&reverted);
    let run = world.live(&reverted);
    assert_eq!(world.built(&run), [""; 0]);
    assert_eq!(world.says(WEB), "web 1");
}

/// The schedule knows minutes only, so this one waits for the next.
#[test]
fn a_push_that_nobody_announced_is_found_by_the_poll() {
    let mut world = World::empty();
    world.settings = "[poll]\nschedule = \"* * * * *\"\njitter = \"1s\"\n".into();
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("api", 2);
    world.within(Duration::from_secs(75), "the poll", || {
        (world.applied().as_deref() == Some(&*second)).then_some(())
    });
    assert_eq!(world.says(API), "api 2");
    assert_eq!(world.runs()[0].reason, "the timer");
}
