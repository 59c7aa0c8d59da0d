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

/// Writes down when it begins and when it ends.
const WRITES: &str = "    command: [\"sh\", \"-c\", \"trap 'echo end >> /data/log; exit' TERM; echo begin >> /data/log; \
                      sleep 9000 & wait\"]\n    volumes: [\"data:/data\"]\n";

#[test]
fn data_and_ports_move_between_services_that_stay_and_nobody_has_them_beside_another() {
    let mut world = World::empty();
    let (one, two) = (world.spare_port(), world.spare_port());
    let publishing = |name: &str, port: u16| asleep(name, &format!("    ports: [\"127.0.0.1:{port}:80\"]\n"));
    let stack = |more: [&str; 4]| COMPOSE.to_owned() + &more.concat() + "volumes:\n  data:\n";
    let writer = |name: &str, more: &str| {
        asleep(name, &(more.to_owned() + WRITES)).replacen("    command: [\"sleep\", \"9000\"]\n", "", 1)
    };
    let first = [writer("store", ""), publishing("left", one), publishing("right", two), String::new()];
    crate::stack::write(&world.repo, &stack(first.each_ref().map(String::as_str)));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let log = |of: &str| docker(&["exec", &world.container(of), "cat", "/data/log"]).replace('\n', " ");
    assert_eq!(log("store"), "begin");

    // What keeps the data has another name now; the old one leads to it.
    let then = |command: &str| {
        let store = asleep("store", "    depends_on: [kept]\n");
        [store, publishing("left", two), publishing("right", one), writer("kept", command)]
    };
    let bad = stack(
        then("    healthcheck: {test: [\"CMD\", \"false\"], interval: 1s, retries: 1}\n")
            .each_ref()
            .map(String::as_str),
    );
    let bad = world.repo.change("compose.yaml", &bad);
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("kept"));
    assert_eq!(log("store"), "begin end begin end begin");

    let good = world.repo.change("compose.yaml", &stack(then("").each_ref().map(String::as_str)));
    world.deliver(&good);
    world.live(&good);
    assert_eq!(log("kept"), "begin end begin end begin end begin");
    let at = |service: &str| docker(&["port", &world.container(service), "80"]);
    assert_eq!((at("left"), at("right")), (format!("127.0.0.1:{two}"), format!("127.0.0.1:{one}")));

    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!(log("store"), "begin end begin end begin end begin end begin");
    assert_eq!(at("left"), format!("127.0.0.1:{one}"));
    world.whole_with(&["api", "left", "right", "store", "web"]);
}
