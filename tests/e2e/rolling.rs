//! `mode = "rolling"`: one service after another, for a machine that has no room for two of everything.

use std::sync::atomic::{AtomicBool, Ordering};

use agent::model::run::{Outcome, ReleaseId};
use agent::reconcile::Doing;

use crate::client::Client;
use crate::docker;
use crate::stack::{API, BOTH, COMPOSE, WEB};
use crate::world::World;

pub(crate) fn world() -> World {
    world_with(COMPOSE)
}

fn world_with(compose: &str) -> World {
    let mut world = World::empty();
    world.roll = "mode = \"rolling\"\n".to_owned();
    crate::stack::write(&world.repo, compose);
    let revision = world.repo.push("the first version");
    world.start();
    world.live(&revision);
    world
}

fn current(world: &World) -> ReleaseId {
    world.record(async |record| record.current().await.expect("the record").expect("a release").id)
}

/// Both apps change in one push.
pub(crate) fn push_both(world: &World, version: u32) -> String {
    world.repo.write("web/version.txt", format!("web {version}\n"));
    world.repo.write("api/version.txt", format!("api {version}\n"));
    world.repo.push("both apps")
}

/// The most apps that ran twice at one moment, while `act` happened.
fn twice_at_once(world: &World, act: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let running = docker::running(&world.name);
                most = most.max(running.values().filter(|ids| ids.len() > 1).count());
            }
            most
        });
        act();
        over.store(true, Ordering::Relaxed);
        looking.join().expect("the onlooker")
    })
}

#[test]
fn one_service_after_another_is_replaced_and_no_request_is_lost() {
    let world = world();
    let client = Client::start(world.port, BOTH);
    let first = current(&world);
    let most = twice_at_once(&world, || {
        let revision = push_both(&world, 2);
        world.deliver(&revision);
        world.live(&revision);
    });
    assert_eq!(most, 1);
    client.all_good(&["web 1", "web 2", "api 1", "api 2"]);
    assert_eq!(world.get(WEB).body.trim(), "web 2");
    assert_eq!(world.get(API).body.trim(), "api 2");
    // Two steps, one release.
    assert_eq!(current(&world).0, first.0 + 1);
}

#[test]
fn when_the_second_fails_the_first_goes_back_too() {
    let world = world();
    let client = Client::start(world.port, BOTH);
    let before = current(&world);
    // Services go in the order of their names: api first.
    world.repo.write("api/version.txt", "api 2\n");
    world.repo.write("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    let revision = world.repo.push("web is broken");
    world.deliver(&revision);
    world.wrong("it exited with code 1");
    world.eventually("the first version of both", || {
        (world.says(API) == "api 1" && world.status().situation.doing == Doing::Idle).then_some(())
    });
    client.all_good(&["web 1", "api 1", "api 2"]);
    assert_eq!(current(&world), before);
}

#[test]
fn a_one_shot_that_fails_replaces_no_service() {
    let prepare = "  prepare:\n    image: agenttest-base:1\n    restart: \"no\"\n    \
        command: [\"sh\", \"-c\", \"exit 0\"]\n    labels:\n      agent.oneshot: \"true\"\n";
    let world = world_with(&(COMPOSE.to_owned() + prepare));
    let client = Client::start(world.port, BOTH);
    let before = world.running();
    world.repo.write("web/version.txt", "web 2\n");
    world.repo.write("api/version.txt", "api 2\n");
    let bad = world.push_compose("exit 0", "exit 5");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("prepare"));
    client.all_good(&["web 1", "api 1"]);
    assert_eq!(world.running(), before);
}

#[test]
fn killed_between_two_steps_it_goes_on_with_the_second() {
    let mut world = world();
    let client = Client::start(world.port, BOTH);
    let revision = push_both(&world, 2);
    world.deliver(&revision);
    world.eventually("the first step", || (world.get(API).body.trim() == "api 2").then_some(()));
    world.kill();
    world.start();
    world.eventually("the second step", || (world.says(WEB) == "web 2").then_some(()));
    world.eventually("the end", || (world.status().situation.doing == Doing::Idle).then_some(()));
    let outcomes: Vec<_> = world.runs().into_iter().filter_map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded, Outcome::Interrupted, Outcome::Succeeded]);
    let watched = world.status().situation.watching.expect("the watch").services;
    assert_eq!(watched, ["api", "web"].map(str::to_owned).into());
    client.all_good(&["web 1", "web 2", "api 1", "api 2"]);
}
