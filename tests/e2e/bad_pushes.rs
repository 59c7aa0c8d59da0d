//! Pushes that cannot work: the live version answers everybody throughout, the agent says what is wrong and how
//! it looked, tries it once, and the next good push goes live.

use agent::model::run::Failure;

use crate::stack::{COMPOSE, WEB};
use crate::world::World;

/// Pushes something bad under load and returns what is said of it.
fn refused(world: &World, push: impl FnOnce(&World) -> String) -> Failure {
    let before = world.running();
    let client = world.client();
    let revision = push(world);
    world.deliver(&revision);
    let failure = world.failed(&revision);
    assert_eq!(world.wrong(&failure.message), failure);
    let runs = world.runs().len();

    // Asked again, and looking at its containers again, it neither tries again nor forgets.
    world.look();
    assert_eq!(world.runs().len(), runs, "the same revision was tried again");
    assert_eq!(world.wrong(&failure.message), failure);
    assert_eq!(world.running(), before);
    client.all_good(&["web 1", "api 1"]);
    failure
}

/// The next good push goes live.
fn mended(world: &World, mend: impl FnOnce(&World)) {
    let client = world.client();
    mend(world);
    let revision = world.push_version("web", 3);
    world.deliver(&revision);
    world.live(&revision);
    client.all_good(&["web 1", "web 3", "api 1"]);
    assert_eq!(world.says(WEB), "web 3");
    world.all_well();
}

fn undo(world: &World) {
    world.repo.git(&["revert", "--no-edit", "HEAD"]);
}

#[test]
fn a_dockerfile_that_fails_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nRUN echo some reason; exit 3\n")
    });
    assert_eq!(failure.service, None);
    assert!(failure.log.contains("some reason"), "{failure:#?}");
    mended(&world, undo);
}

#[test]
fn an_app_that_exits_at_start_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        let text = "FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"echo no database; exit 4\"]\n";
        world.repo.change("web/Dockerfile", text)
    });
    assert_eq!(failure.service.as_deref(), Some("web"));
    assert!(failure.log.contains("no database"), "{failure:#?}");
    // The engine starts it again and forgets the code.
    assert!(failure.message.starts_with("it exited with code 4 and was restarted"), "{failure:#?}");
    let status = world.agent(&["status"]);
    let says = |line: &str| line.contains("web") && line.contains(&failure.message);
    let wrong = status.lines().position(says);
    let log = status.lines().position(|line| line.contains("no database"));
    assert!(wrong.is_some() && wrong < log, "{status}");
    mended(&world, undo);
}

#[test]
fn an_app_that_never_becomes_healthy_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        world.repo.write("web/version.txt", "web 2\n");
        let check = "build: ./web\n    healthcheck: {test: [CMD, \"false\"], interval: 200ms, retries: 2}";
        world.push_compose("build: ./web", check)
    });
    assert_eq!(failure.message, "its health check says unhealthy");
    mended(&world, undo);
}

#[test]
fn an_app_that_answers_its_probe_with_an_error_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        world.repo.write("web/version.txt", "web 2\n");
        world.push_compose("agent.probe: /web/version.txt", "agent.probe: /web/absent")
    });
    assert!(failure.message.contains("GET /web/absent on port 8000 answers 404"), "{failure:#?}");
    mended(&world, undo);
}

#[test]
fn an_app_on_the_wrong_port_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        let text = crate::stack::dockerfile("web").replace("8000", "9000");
        world.repo.change("web/Dockerfile", &text)
    });
    assert!(
        failure.message.ends_with("nothing listens on port 8000; the app listens on 9000"),
        "{failure:#?}"
    );
    mended(&world, undo);
}

#[test]
fn a_compose_file_with_a_typo_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| world.push_compose("build: ./web", "biuld: ./web"));
    let line = COMPOSE.lines().position(|line| line.contains("build: ./web")).unwrap() + 1;
    assert!(failure.message.starts_with(&format!("compose.yaml:{line}:5: ")), "{failure:#?}");
    assert!(failure.message.contains("biuld"), "{failure:#?}");
    mended(&world, undo);
}

#[test]
fn a_route_label_that_would_break_nginx_costs_nothing() {
    let world = World::live_at_once();
    let failure = refused(&world, |world| {
        world.push_compose("agent.route.path: /web/", "agent.route.path: \"/web/; return 500\"")
    });
    assert!(failure.message.contains("agent.route.path"), "{failure:#?}");
    mended(&world, undo);
}

#[test]
fn an_old_release_that_was_stopped_answers_again_before_anybody_is_told() {
    let mut world = World::empty();
    let slow = "FROM agenttest-base:1\nCOPY . /www/web/\nCMD [\"sh\", \"-c\", \"sleep 2; exec httpd -f -p 8000 -h /www\"]\n";
    world.repo.write("web/Dockerfile", slow);
    let stops = "build: ./web\n    deploy: {update_config: {order: stop-first}}";
    crate::stack::write_apps(
        &world.repo,
        &COMPOSE.replace("build: ./web", stops).replace("3s", "6s"),
        &["web", "api"],
    );
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);

    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    world.failed(&bad);
    assert_eq!(world.says(WEB), "web 1");
}
