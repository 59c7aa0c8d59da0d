//! The machine's clock is set back an hour, under a release that is watched and in the middle of a roll.

use agent::model::run::{Entry, Kind, Outcome};
use agent::reconcile::Doing;

use crate::docker::docker;
use crate::stack::{API, COMPOSE, WEB, dockerfile, write};
use crate::told::Moment;
use crate::world::World;

const TOLD: Moment = |entry| matches!(entry, Entry::BringingUp { .. });

/// Its first version is live, and its clock is in our hands.
fn world() -> World {
    let mut world = World::empty();
    write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.set_clock(0);
    world.start();
    world.live(&first);
    world
}

/// What the agent takes for now, in milliseconds since the Unix epoch.
fn its_clock(world: &World) -> i64 {
    let wrong = world.status().situation.looked_at;
    wrong.expect("a look at the branch")
}

#[test]
fn a_clock_set_back_an_hour_stops_neither_rolls_nor_healing_nor_the_watch() {
    let world = world();
    let client = world.client();
    let before = its_clock(&world);

    // In the middle of a roll.
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.comes_to(&second, TOLD);
    world.set_clock(-1);
    world.live(&second);
    world.look();
    assert!(its_clock(&world) < before - 3_000_000, "the clock was not moved");
    world.transcript("clock-back");

    // What breaks is mended, although the runs before are dated in the future.
    client.all_good(&["web 1", "web 2", "api 1"]);
    docker(&["rm", "-f", &world.container("api")]);
    world.eventually("api again", || (world.get(API).status == 200).then_some(()));
    let idle = || (world.status().situation.doing == Doing::Idle).then_some(());
    world.eventually("the end", idle);
    let healed = world.runs().remove(0);
    assert_eq!((healed.kind, healed.outcome), (Kind::Heal, Some(Outcome::Succeeded)));

    // A release that turns bad is taken back, and what comes after it goes live.
    let ends = dockerfile("web").replace("[\"httpd\"", "[\"timeout\", \"4\", \"httpd\"");
    let bad = world.repo.change("web/Dockerfile", &ends);
    world.deliver(&bad);
    world.wrong("went bad");
    world.eventually("the version before", || {
        let run = world.runs().remove(0);
        (run.kind == Kind::Revert && run.outcome == Some(Outcome::Succeeded)).then_some(())
    });
    // The watch over the second was not over.
    assert_eq!(world.says(WEB), "web 1");
    world.repo.write("web/Dockerfile", dockerfile("web"));
    let third = world.push_version("web", 3);
    world.deliver(&third);
    world.live(&third);

    // And forward again.
    world.set_clock(0);
    let fourth = world.push_version("web", 4);
    world.deliver(&fourth);
    world.live(&fourth);
    assert_eq!(world.says(WEB), "web 4");
    world.all_well();
}
