//! The agent is killed at the worst moments: the site goes on, and the next start ends in the old release or the
//! new one, whole.

use agent::model::run::Entry;

use crate::docker::docker;
use crate::stack::WEB;
use crate::world::World;

#[test]
fn killed_while_putting_back() {
    let mut world = World::live_at_once();
    let client = world.client();
    let before = world.running();
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"sleep\", \"60\"]\n");
    world.deliver(&bad);
    world.eventually("the revert", || {
        let run = world.runs().into_iter().find(|run| run.revision == bad)?;
        world.log(&run).iter().any(|entry| matches!(entry, Entry::Reverting { .. })).then_some(())
    });
    world.kill();
    let told = world.agent(&["status"]);
    assert!(told.contains("cut off; the next start brings it to its end"), "{told}");
    assert!(told.contains("agent: not running; the apps go on without it"), "{told}");
    world.start();
    let failure = world.failed_at_last(&bad);
    assert!(failure.message.contains("nothing listens on port 8000"), "{failure:#?}");
    client.all_good(&["web 1", "api 1"]);
    assert_eq!(world.running(), before);
    world.whole();
    world.transcript("failed");
}

#[test]
fn the_site_goes_on_without_the_agent_even_when_nginx_restarts() {
    let mut world = World::live_at_once();
    let client = world.client();
    let before = world.running();
    world.kill();
    client.all_good(&["web 1", "api 1"]);
    docker(&["restart", &world.container("nginx")]);
    world
        .eventually("nginx", || crate::http::get(world.port, WEB).ok().filter(|answer| answer.status == 200));
    docker(&["restart", &world.container("web")]);
    world.eventually("web", || (world.get(WEB).status == 200).then_some(()));
    world.start();
    assert_eq!(world.running(), before, "a start finds everything as it should be");
}

#[test]
fn a_stopped_agent_ends_well_and_leaves_everything() {
    let mut world = World::live_at_once();
    let before = world.running();
    assert!(world.daemon.take().unwrap().terminate());
    assert_eq!(world.running(), before);
    let second = world.push_version("web", 2);
    world.start();
    world.live(&second);
}

#[test]
fn two_agents_never_share_a_state_folder() {
    let world = World::live_at_once();
    let log = world.path().join("second.log");
    let mut second = crate::daemon::Daemon::start(&world.write_config(), &log);
    world.eventually("the end of the second", || second.ended().then_some(()));
    let said = std::fs::read_to_string(log).unwrap();
    let first = world.daemon.as_ref().unwrap().id().to_string();
    assert!(said.contains(&format!("another agent (process {first})")), "{said}");
    world.look();
}
