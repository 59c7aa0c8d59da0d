//! Back to what worked, and it stays so.

use agent::model::run::{Kind, Outcome};
use agent::orders::Order;
use agent::record::Target;

use crate::stack::WEB;
use crate::world::World;

const BACK: Order = Order::Rollback { release: None, hold: false };
const BACK_AND_STAY: Order = Order::Rollback { release: None, hold: true };

/// A second version is live.
fn world() -> (World, String) {
    let world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    (world, second)
}

#[test]
fn a_rollback_needs_no_network_and_no_build_and_stays_until_the_next_commit() {
    let (mut world, second) = world();
    world.transcript("watching");
    let client = world.client();
    let port = world.stop_git();
    world.ordered(&BACK);
    assert_eq!(world.says(WEB), "web 1");
    let run = world.runs().remove(0);
    assert_eq!((run.kind, &run.outcome), (Kind::Rollback, &Some(Outcome::Succeeded)));
    assert_eq!(world.built(&run), [""; 0]);

    world.start_git(port);
    world.look();
    assert_eq!(world.runs()[0].id, run.id, "the rollback was undone");
    assert!(matches!(world.target(), Target::Pinned(_)));
    world.all_well();
    world.transcript("held");

    let third = world.push_version("web", 3);
    world.deliver(&third);
    world.live(&third);
    client.all_good(&["web 1", "web 2", "web 3", "api 1"]);
    assert_eq!(world.says(WEB), "web 3");
    assert_eq!(world.target(), Target::Branch);
    let story: Vec<(Kind, String)> = world.runs().into_iter().map(|run| (run.kind, run.revision)).collect();
    assert_eq!(story[0], (Kind::Deploy, third));
    assert_eq!(story[1].0, Kind::Rollback);
    assert_eq!(story[2], (Kind::Deploy, second));
    let told = world.agent(&["history"]);
    let line = told.lines().find(|line| line.contains("rollback")).unwrap_or_default();
    assert!(line.contains("the first version") && line.contains("release 1"), "{told}");
}

#[test]
fn a_rollback_while_the_old_instance_drains_goes_back_from_what_has_just_gone_live() {
    let world = World::live_at_once();
    let _held = world.connect_to("web");
    let second = world.push_version("web", 2);
    world.deliver(&second);
    let first_release = world.eventually("the second version", || {
        let releases = world.record(async |record| record.releases().await.unwrap());
        (releases.len() == 2).then(|| releases[1].id)
    });
    assert_eq!(world.runs()[0].outcome, None, "the old instance still drains");
    world.ordered(&BACK);
    let Target::Pinned(hold) = world.target() else { panic!("not pinned") };
    assert_eq!((hold.release, hold.denied.unwrap().to_string()), (first_release, second));
    assert_eq!(world.says(WEB), "web 1");
}

#[test]
fn a_rollback_that_holds_is_lifted_by_a_person_only() {
    let (world, _) = world();
    world.ordered(&BACK_AND_STAY);
    let third = world.push_version("web", 3);
    world.deliver(&third);
    world.look();
    assert_eq!(world.says(WEB), "web 1");
    assert_ne!(world.runs()[0].revision, third);
    world.ordered(&Order::Resume);
    world.live(&third);
    assert_eq!(world.says(WEB), "web 3");
}

#[test]
fn resuming_brings_back_what_was_rolled_back_without_a_build() {
    let (world, second) = world();
    world.ordered(&BACK);
    assert_eq!(world.says(WEB), "web 1");
    let plan = world.agent(&["plan"]);
    assert!(plan.contains("this revision was rolled back and stays out until agent resume"), "{plan}");
    world.ordered(&Order::Resume);
    assert!(!world.agent(&["plan"]).contains("stays out"));
    let run = world.live(&second);
    assert_eq!((run.kind, world.built(&run).len()), (Kind::Deploy, 0));
    assert_eq!(world.says(WEB), "web 2");
}

#[test]
fn a_rollback_is_done_although_the_tip_is_bad() {
    let (world, _) = world();
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nRUN false\n");
    world.deliver(&bad);
    let failure = world.failed(&bad);
    world.ordered(&BACK);
    assert_eq!(world.says(WEB), "web 1");
    assert_eq!(world.wrong(&failure.message), failure, "the tip is as bad as before");
    world.repo.git(&["revert", "--no-edit", "HEAD"]);
    let good = world.push_version("web", 4);
    world.deliver(&good);
    world.live(&good);
    assert_eq!(world.says(WEB), "web 4");
    world.all_well();
}

#[test]
fn a_rollback_restores_what_the_compose_file_said() {
    let world = World::live_at_once();
    let before = world.container("api");
    let second = world.push_compose("agent.route.path: /api/", "agent.route.path: /v2/");
    world.deliver(&second);
    world.live(&second);
    assert_eq!(world.get("/api/version.txt").status, 404);
    world.ordered(&BACK);
    assert_eq!(world.says("/api/version.txt"), "api 1");
    assert_eq!(world.container("api"), before, "a route is nginx's affair");
}

#[test]
fn what_is_pinned_is_mended_like_anything_else() {
    let mut world = World::empty();
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    // Slower than the engine tells what happened to a container.
    let slow = crate::stack::dockerfile("web")
        .replace("[\"httpd\"", "[\"sh\", \"-c\", \"sleep 1; exec \\\"$0\\\" \\\"$@\\\"\", \"httpd\"");
    world.repo.write("web/Dockerfile", slow);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    world.ordered(&BACK);
    crate::docker::docker(&["rm", "-f", &world.container("web")]);
    world.eventually("web again", || (world.get(WEB).status == 200).then_some(()));
    world.eventually("the end", || world.runs().remove(0).outcome);
    let healed: Vec<_> = world.runs().into_iter().filter(|run| run.kind == Kind::Heal).collect();
    assert_eq!(healed.len(), 1, "{healed:#?}");
    assert_eq!(healed[0].outcome, Some(Outcome::Succeeded));
    assert_eq!(world.says(WEB), "web 1");
}
