//! The newest revision wins, whatever is being done when it comes.

use std::net::TcpStream;

use agent::model::run::{Entry, Outcome};

use crate::docker::docker;
use crate::stack::{COMPOSE, WEB, dockerfile};
use crate::world::World;

fn reached(world: &World, revision: &str, moment: fn(&Entry) -> bool) {
    world.eventually("the moment", || {
        let run = world.runs().into_iter().find(|run| run.revision == revision)?;
        world.log(&run).iter().any(moment).then_some(())
    });
}

/// What the web app is built from, as before, in another version.
fn push_good(world: &World, version: u32) -> String {
    world.repo.write("web/Dockerfile", dockerfile("web"));
    let revision = world.push_version("web", version);
    world.deliver(&revision);
    revision
}

fn superseded(world: &World, older: &str, newer: &str) {
    let run = world.ended(older);
    assert_eq!(run.outcome, Some(Outcome::Superseded { by: newer.to_owned() }));
}

#[test]
fn a_build_is_given_up() {
    let world = World::live_at_once();
    let client = world.client();
    let slow = dockerfile("web").replace("CMD", "RUN sleep 600\nCMD");
    let older = world.repo.change("web/Dockerfile", &slow);
    world.deliver(&older);
    reached(&world, &older, |entry| matches!(entry, Entry::Building { .. }));
    let newer = push_good(&world, 3);
    world.live(&newer);
    superseded(&world, &older, &newer);
    assert_eq!(world.says(WEB), "web 3");
    client.all_good(&["web 1", "web 3", "api 1"]);
}

#[test]
fn a_bad_release_is_not_waited_for() {
    let world = World::live_with(&COMPOSE.replace("agent.health_timeout: 3s", "agent.health_timeout: 10m"));
    let client = world.client();
    let older = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"sleep\", \"900\"]\n");
    world.deliver(&older);
    reached(&world, &older, |entry| matches!(entry, Entry::BringingUp { .. }));
    let newer = push_good(&world, 3);
    world.live(&newer);
    superseded(&world, &older, &newer);
    assert_eq!(world.says(WEB), "web 3");
    client.all_good(&["web 1", "web 3", "api 1"]);
}

#[test]
fn a_roll_that_has_switched_is_a_release_of_its_own() {
    let world = World::live_at_once();
    let client = world.client();
    let address = docker(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &world.container("web"),
    ]);
    // Somebody holds a connection to the old instance: it drains for as long as it may.
    let _held = TcpStream::connect(format!("{address}:8000")).unwrap();
    let older = world.push_version("web", 2);
    world.deliver(&older);
    reached(&world, &older, |entry| matches!(entry, Entry::Draining { .. }));
    let newer = push_good(&world, 3);
    world.live(&newer);
    assert_eq!(world.ended(&older).outcome, Some(Outcome::Succeeded));
    assert_eq!(world.says(WEB), "web 3");
    client.all_good(&["web 1", "web 2", "web 3", "api 1"]);
    world.eventually("one container", || (world.running()["web"].len() == 1).then_some(()));
}

#[test]
fn a_migration_has_its_time_and_is_not_cut_off() {
    let mut world = World::empty();
    let after = "build: ./web\n    depends_on: {prepare: {condition: service_completed_successfully}}";
    let prepare = format!(
        "  prepare:\n    image: agenttest-base:1\n    container_name: {}-migration\n    volumes: [\"data:/data\"]\n    \
         command: [\"sh\", \"-c\", \"echo begun >>/data/log; sleep 0; echo ended >>/data/log\"]\n\
         volumes: {{data: {{}}}}\n",
        world.name
    );
    crate::stack::write(&world.repo, &(COMPOSE.replace("build: ./web", after) + &prepare));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let client = world.client();
    world.repo.write("web/version.txt", "web 2\n");
    // Longer than a service may take to become healthy.
    let older = world.push_compose("sleep 0", "sleep 12");
    world.deliver(&older);
    reached(&world, &older, |entry| matches!(entry, Entry::BringingUp { .. }));
    world.repo.write("web/version.txt", "web 3\n");
    let newer = world.push_compose("sleep 12", "sleep 0");
    world.deliver(&newer);
    let run = world.ended(&newer);
    assert_eq!(run.outcome, Some(Outcome::Succeeded));
    superseded(&world, &older, &newer);
    assert_eq!(world.says(WEB), "web 3");
    let volume = format!("{}_data:/data:ro", world.name);
    let log = docker(&["run", "--rm", "-v", &volume, "agenttest-base:1", "cat", "/data/log"]);
    assert_eq!(
        log.split_whitespace().collect::<Vec<_>>(),
        ["begun", "ended"].repeat(2),
        "what began has ended"
    );
    client.all_good(&["web 1", "web 3", "api 1"]);
}
