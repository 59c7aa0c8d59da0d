//! Services that have something of another's: its volume, its network, a port that it gives up.

use std::fs;

use agent::model::run::Outcome;
use agent::orders::Order;

use crate::docker::docker;
use crate::stack::{COMPOSE, WEB};
use crate::world::World;

/// As a service that takes no requests.
fn asleep(name: &str, more: &str) -> String {
    format!(
        "  {name}:\n    image: agenttest-base:1\n    init: true\n    restart: always\n    stop_grace_period: 2s\n    \
         command: [\"sleep\", \"9000\"]\n{more}"
    )
}

#[test]
fn under_another_name_a_service_takes_over_its_data_and_its_requests() {
    let writes = COMPOSE.replace("build: ./web\n", "build: ./web\n    volumes: [\"data:/data\"]\n");
    let world = World::live_with(&(writes.clone() + "volumes:\n  data:\n"));
    docker(&["exec", &world.container("web"), "touch", "/data/paid"]);
    let kept = |of: &str| docker(&["exec", &world.container(of), "ls", "/data"]);
    let client = world.client();

    world.repo.write("compose.yaml", writes.replace("  web:", "  shop:") + "volumes:\n  data:\n");
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("shop"));
    assert_eq!((world.says(WEB), kept("web")), ("web 1".into(), "paid".into()));

    let good = world.repo.change("web/Dockerfile", &crate::stack::dockerfile("web"));
    world.deliver(&good);
    world.live(&good);
    assert_eq!((world.says(WEB), kept("shop")), ("web 1".into(), "paid".into()));
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!((world.says(WEB), kept("web")), ("web 1".into(), "paid".into()));
    client.all_good(&["web 1", "api 1"]);
}

#[test]
fn what_shares_a_network_goes_with_its_owner_and_is_replaced_where_that_starts_again() {
    let beside = asleep("mesh", "    network_mode: service:web\n")
        + &asleep("watcher", "    network_mode: service:nginx\n");
    let world = World::live_with(&(COMPOSE.to_owned() + &beside));
    let client = world.client();
    let asks = |from: &str, at: &str| {
        docker(&[
            "exec",
            &world.container(from),
            "wget",
            "-qO-",
            &format!("http://127.0.0.1:{at}/web/version.txt"),
        ])
    };
    assert_eq!((asks("mesh", "8000"), asks("watcher", "80")), ("web 1".into(), "web 1".into()));
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(asks("mesh", "8000"), "web 2");
    // It was with the new one already when it failed.
    world.repo.write("web/version.txt", "web 3\n");
    let bad = world
        .push_compose("network_mode: service:web", "network_mode: service:web\n    entrypoint: [\"false\"]");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("mesh"));
    assert_eq!(asks("mesh", "8000"), "web 2");
    client.all_good(&["web 1", "web 2", "api 1"]);

    let mesh = world.container("mesh");
    docker(&["restart", "-t", "1", &world.container("web")]);
    let other = |running: &[String]| running.iter().any(|id| *id != mesh);
    world.eventually("a mesh in the new network", || {
        world.running().get("mesh").filter(|ids| other(ids)).map(drop)
    });
    world.eventually("the end of it", || (world.runs()[0].outcome == Some(Outcome::Succeeded)).then_some(()));
    assert_eq!(asks("mesh", "8000"), "web 2");
    world.push_compose("\n    entrypoint: [\"false\"]", "");
    // nginx comes before what shares its network, also as something new.
    let other = world.push_compose("image: nginx:1.30", "image: nginx:1.30\n    environment: {NEW: \"1\"}");
    world.deliver(&other);
    world.live(&other);
    assert_eq!(asks("watcher", "80"), "web 3");
}

#[test]
fn an_old_instance_that_cannot_start_again_keeps_nobody_from_what_comes_next() {
    let mut world = World::empty();
    let place = world.path().join("mounted");
    fs::create_dir(&place).unwrap();
    world.settings += &format!("[policy]\nallow_host_paths = [\"{}\"]\n", place.display());
    let mount = format!(
        "    volumes: [{{type: bind, source: \"{}\", target: /mounted, bind: {{create_host_path: false}}}}]\n",
        place.display()
    );
    let more = asleep("alone", "    network_mode: bridge\n") + &asleep("mounts", &mount);
    crate::stack::write(&world.repo, &(COMPOSE.to_owned() + &more));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);

    // What is on no network of the stack comes back like everything else.
    let alone = world.container("alone");
    let bad = world.push_compose("network_mode: bridge", "network_mode: bridge\n    entrypoint: [\"false\"]");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("alone"));
    assert_eq!(world.container("alone"), alone);

    let mounts = world.container("mounts");
    world.push_compose("\n    entrypoint: [\"false\"]", "");
    let bad =
        world.push_compose(&mount, &format!("{mount}    entrypoint: [\"sh\", \"-c\", \"sleep 3; false\"]\n"));
    world.deliver(&bad);
    let stopped = || docker(&["inspect", "-f", "{{.State.Running}}", &mounts]) == "false";
    world.eventually("the gap", || stopped().then_some(()));
    fs::rename(&place, world.path().join("elsewhere")).unwrap();
    assert_eq!(world.failed(&bad).service.as_deref(), Some("mounts"));
    let good = world.push_compose("    entrypoint: [\"sh\", \"-c\", \"sleep 3; false\"]\n", "");
    fs::rename(world.path().join("elsewhere"), &place).unwrap();
    world.deliver(&good);
    world.live(&good);
    world.whole_with(&["alone", "api", "mounts", "web"]);
}
