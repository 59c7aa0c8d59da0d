//! Services that are not a plain app behind nginx.

use agent::model::run::{Entry, Kind, Outcome};
use agent::orders::Order;

use crate::docker::docker;
use crate::http;
use crate::stack::{COMPOSE, WEB};
use crate::world::World;

/// A service that publishes a port of its own, which only one container can hold.
fn with_a_published_port(world: &World) -> (String, u16) {
    let port = world.port + 8;
    let service = format!(
        "  door:\n    <<: *app\n    build: ./door\n    ports: [\"127.0.0.1:{port}:8000\"]\n    \
         labels:\n      agent.probe: /door/version.txt\n      agent.probe.port: \"8000\"\n"
    );
    world.repo.write("door/Dockerfile", crate::stack::dockerfile("door"));
    world.repo.write("door/version.txt", "door 1\n");
    (COMPOSE.to_owned() + &service, port)
}

#[test]
fn a_service_with_a_published_port_is_replaced_and_comes_back_when_its_successor_fails() {
    let mut world = World::empty();
    let (compose, port) = with_a_published_port(&world);
    crate::stack::write(&world.repo, &compose);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let says = || http::get(port, "/door/version.txt").map(|answer| answer.body.trim().to_owned());
    assert_eq!(says().unwrap(), "door 1");

    let second = world.push_version("door", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(says().unwrap(), "door 2");

    let kept = world.container("door");
    let client = world.client();
    let bad = world.repo.change("door/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("door"));
    assert_eq!(says().unwrap(), "door 2");
    assert_eq!(world.container("door"), kept);
    client.all_good(&["web 1", "api 1"]);

    // Under other names they need the same ports; the way back does too, and comes back as it was.
    let renamed = compose.replace("  door:", "  gate:");
    world.repo.write("compose.yaml", &renamed);
    let bad = world.repo.change("door/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("gate"));
    let policy = docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &world.container("door")]);
    assert_eq!((says().unwrap(), policy.as_str()), ("door 2".into(), "always"));
    world.repo.write("door/Dockerfile", crate::stack::dockerfile("door"));
    let renamed = compose.replace("  nginx:", "  front:").replace("  door:", "  gate:");
    let third = world.repo.change("compose.yaml", &renamed);
    world.deliver(&third);
    world.live(&third);
    assert_eq!((says().unwrap(), world.says(WEB)), ("door 2".into(), "web 1".into()));
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!((says().unwrap(), world.says(WEB)), ("door 2".into(), "web 1".into()));
    assert_eq!(world.running().keys().collect::<Vec<_>>(), ["api", "door", "nginx", "web"]);
}

/// `web` waits for `prepare` to end well.
fn with_a_one_shot() -> String {
    let after = "build: ./web\n    depends_on: {prepare: {condition: service_completed_successfully}}";
    COMPOSE.replace("build: ./web", after)
        + "  prepare:\n    image: agenttest-base:1\n    restart: \"no\"\n    command: [\"sh\", \"-c\", \"echo preparing 1\"]\n"
}

#[test]
fn a_one_shot_ends_before_who_waits_for_it_begins_or_before_all_where_nobody_does() {
    let alone = "  first:\n    image: agenttest-base:1\n    command: [\"true\"]\n    labels: {agent.oneshot: \"true\"}\n";
    let world = World::live_with(&(with_a_one_shot() + alone));
    let log = world.log(&world.runs()[0]);
    let passed = |of: &str| {
        log.iter().position(|e| matches!(e, Entry::Passed { service, .. } if service == of)).expect("its end")
    };
    let begun = |of: &str| {
        log.iter().position(|e| matches!(e, Entry::BringingUp { service, .. } if service == of)).expect("it")
    };
    assert!(passed("prepare") < begun("web"), "{log:#?}");
    assert!(passed("first") < begun("web").min(begun("api")).min(begun("nginx")), "{log:#?}");

    // It has ended, which is as it should be: nothing is healed and nothing rolls.
    let before = world.running();
    let second = world.push_version("api", 2);
    world.deliver(&second);
    let run = world.live(&second);
    let touched = world.log(&run).into_iter().filter(|e| matches!(e, Entry::BringingUp { .. })).count();
    assert_eq!(touched, 1);
    assert_eq!(world.running()["web"], before["web"]);
}

#[test]
fn a_one_shot_that_fails_rolls_nothing() {
    let world = World::live_with(&with_a_one_shot());
    let before = world.running();
    let client = world.client();
    world.repo.write("web/version.txt", "web 2\n");
    let bad = world.push_compose("echo preparing 1", "echo cannot prepare; exit 5");
    world.deliver(&bad);
    let failure = world.failed(&bad);
    assert_eq!(
        (failure.service.as_deref(), failure.message.as_str()),
        (Some("prepare"), "it exited with code 5")
    );
    assert!(failure.log.contains("cannot prepare"));
    client.all_good(&["web 1", "api 1"]);
    assert_eq!(world.running(), before);
}

/// Moves the data to the version of its image, and refuses data that is ahead of it, as migrations do.
const MIGRATE: &str = "last=0\nfor last in $(cat /data/done 2>/dev/null); do :; done\nmine=$(cat /prepare/version)\n\
    if [ \"$last\" -gt \"$mine\" ]; then echo \"the data is at $last\"; exit 1; fi\necho \"$mine\" >>/data/done\n";

/// The data was moved to its first version, and then, with `web`, to its second.
fn migrated_twice() -> World {
    let mut world = World::empty();
    let compose = with_a_one_shot();
    let start = compose.find("  prepare:").unwrap();
    let prepare = "  prepare:\n    build: ./prepare\n    restart: \"no\"\n    volumes: [\"data:/data\"]\n\
        volumes: {data: {}}\n";
    crate::stack::write(&world.repo, &(compose[..start].to_owned() + prepare));
    let dockerfile = "FROM agenttest-base:1\nCOPY . /prepare/\nCMD [\"sh\", \"/prepare/migrate\"]\n";
    world.repo.write("prepare/Dockerfile", dockerfile);
    world.repo.write("prepare/migrate", MIGRATE);
    world.repo.write("prepare/version", "1\n");
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world.repo.write("prepare/version", "2\n");
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(data(&world), "1\n2");
    world
}

/// To which versions the data was moved, one after the other.
fn data(world: &World) -> String {
    let volume = format!("{}_data:/data:ro", world.name);
    docker(&["run", "--rm", "-v", &volume, "agenttest-base:1", "cat", "/data/done"])
}

#[test]
fn a_rollback_does_not_run_the_old_one_shot_on_the_new_data() {
    let world = migrated_twice();
    let client = world.client();
    world.ordered(&Order::Rollback { release: None, hold: false });
    let run = world.runs().remove(0);
    assert_eq!((run.kind, run.outcome), (Kind::Rollback, Some(Outcome::Succeeded)));
    assert_eq!((world.says(WEB).as_str(), data(&world).as_str()), ("web 1", "1\n2"));
    let runs = world.runs().len();
    world.look();
    assert_eq!(world.runs().len(), runs, "there was something to mend");
    world.all_well();
    // What has run for the second version has not to run again for it.
    world.ordered(&Order::Resume);
    assert_eq!((world.says(WEB).as_str(), data(&world).as_str()), ("web 2", "1\n2"));
    // Nor is it run again because somebody has cleared away what had ended.
    let of_stack = format!("label=agent.stack={}", world.name);
    let prepared =
        docker(&["ps", "-aq", "--filter", &of_stack, "--filter", "label=com.docker.compose.service=prepare"]);
    assert_eq!(prepared.lines().count(), 1, "{prepared}");
    docker(&["rm", prepared.trim()]);
    let runs = world.runs().len();
    world.look();
    assert_eq!((world.runs().len(), data(&world).as_str()), (runs, "1\n2"));
    assert!(!world.agent(&["status"]).contains("missing"));
    client.all_good(&["web 1", "web 2", "api 1"]);
}

#[test]
fn several_replicas_roll_together_and_their_number_can_change() {
    let compose = COMPOSE.replace("build: ./web", "build: ./web\n    deploy: {replicas: 2}");
    let world = World::live_with(&compose);
    let before = world.running();
    assert_eq!(before["web"].len(), 2);
    let client = world.client();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    let rolled = world.running();
    assert_eq!(rolled["web"].len(), 2);
    assert!(rolled["web"].iter().all(|id| !before["web"].contains(id)));

    let mut had = rolled["web"].clone();
    for (from, replicas) in [(2, 3), (3, 1)] {
        let revision = world.push_compose(&format!("replicas: {from}"), &format!("replicas: {replicas}"));
        world.deliver(&revision);
        world.live(&revision);
        let now = world.running();
        assert_eq!(now["web"].len(), replicas);
        assert_eq!(now["web"].iter().filter(|id| had.contains(id)).count(), replicas.min(from));
        had.clone_from(&now["web"]);
    }
    client.all_good(&["web 1", "web 2", "api 1"]);
}

#[test]
fn a_request_in_flight_ends_on_the_instance_it_began_on() {
    let mut world = World::empty();
    crate::stack::write(&world.repo, COMPOSE);
    let script = "#!/bin/sh\nv=$(cat /www/web/version.txt)\nsleep 2\nprintf \"Content-Type: text/plain\\r\\n\\r\\n$v\"\n";
    world.repo.write("web/slow", script);
    let dockerfile = crate::stack::dockerfile("web");
    let placed =
        "RUN mkdir /www/cgi-bin && mv /www/web/slow /www/cgi-bin/ && chmod +x /www/cgi-bin/slow\nCMD";
    world.repo.write("web/Dockerfile", dockerfile.replace("CMD", placed));
    let route = "agent.route.slow.path: /cgi-bin/\n      agent.route.slow.port: \"8000\"";
    let probe = "agent.probe: /web/version.txt";
    world.repo.write("compose.yaml", COMPOSE.replace(probe, &format!("{probe}\n      {route}")));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("the gate", || {
        let run = world.runs().into_iter().find(|run| run.revision == second)?;
        world.log(&run).iter().any(|entry| matches!(entry, Entry::Passed { .. })).then_some(())
    });
    let port = world.port;
    let asking = std::thread::spawn(move || http::get(port, "/cgi-bin/slow"));
    world.eventually("the new version", || (world.says(WEB) == "web 2").then_some(()));
    assert!(!asking.is_finished(), "the request ended before the switch: nothing is shown");
    let answer = asking.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "web 1"));
    world.live(&second);
}

#[test]
fn what_an_anonymous_volume_holds_outlives_rolls_failures_and_the_way_back() {
    let mut world = World::empty();
    crate::stack::write(&world.repo, COMPOSE);
    let keeps = crate::stack::dockerfile("web").replace("CMD", "VOLUME /data\nCMD");
    world.repo.write("web/Dockerfile", &keeps);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    // Requests wait while it is replaced, for which nginx must not take their time from the app.
    let file = std::fs::read_to_string(world.state().join("nginx/nginx.conf")).unwrap();
    assert_eq!(file.matches("proxy_read_timeout 100s;").count(), 1, "{file}");
    world.all_well();
    docker(&["exec", &world.container("web"), "touch", "/data/paid"]);
    let kept = || docker(&["exec", &world.container("web"), "ls", "/data"]);
    let client = world.client();

    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(kept(), "paid");
    let bad = world.repo.change("web/Dockerfile", &keeps.replace("httpd", "false"));
    world.deliver(&bad);
    world.failed(&bad);
    assert_eq!((world.says(WEB), kept()), ("web 2".into(), "paid".into()));
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!((world.says(WEB), kept()), ("web 1".into(), "paid".into()));
    client.all_good(&["web 1", "web 2", "api 1"]);
}
