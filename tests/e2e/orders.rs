//! What a person may ask for beside a rollback.

use agent::orders::Order;

use crate::docker::{docker, try_docker};
use crate::stack::{COMPOSE, WEB};
use crate::world::World;

const LOOK: Order = Order::Deploy { allow_prune: false, despite_freeze: false };

#[test]
fn down_removes_containers_and_networks_and_keeps_volumes() {
    let compose = COMPOSE.replace("build: ./web", "build: ./web\n    volumes: [\"data:/data\"]")
        + "volumes: {data: {}}\n";
    let world = World::live_with(&compose);
    docker(&["exec", &world.container("web"), "sh", "-c", "echo kept > /data/file"]);
    world.ordered(&Order::Down);
    let filter = format!("label=agent.stack={}", world.name);
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
    assert_eq!(docker(&["network", "ls", "-q", "--filter", &filter]), "");
    assert!(try_docker(&["volume", "inspect", &format!("{}_data", world.name)]).0);
    world.ordered(&LOOK);
    assert_eq!(world.says(WEB), "web 1");
    assert_eq!(docker(&["exec", &world.container("web"), "cat", "/data/file"]), "kept");
}

#[test]
fn what_was_taken_down_comes_back_though_the_tip_is_bad() {
    let world = World::live_at_once();
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nRUN false\n");
    world.deliver(&bad);
    world.failed(&bad);
    for order in [Order::Resume, LOOK] {
        world.ordered(&Order::Down);
        assert!(world.running().is_empty());
        world.ordered(&order);
        assert_eq!(world.says(WEB), "web 1");
    }
}

#[test]
fn what_failed_is_tried_again_on_a_persons_word_only() {
    let compose = COMPOSE.replace("build: ./web", "build: ./web\n    volumes: [\"data:/data\"]")
        + "volumes: {data: {}}\n";
    let world = World::live_with(&compose);
    let text = crate::stack::dockerfile("web")
        .replace("[\"httpd\"", "[\"sh\", \"-c\", \"test -e /data/ready && exec httpd -f -p 8000 -h /www\"");
    let text = text.split(", \"-f\"").next().unwrap().to_owned() + "]\n";
    let revision = world.repo.change("web/Dockerfile", &text);
    world.deliver(&revision);
    world.failed(&revision);
    assert_eq!(world.says(WEB), "web 1", "the old one is back");
    docker(&["exec", &world.container("web"), "touch", "/data/ready"]);
    world.look();
    let tries = |world: &World| world.runs().into_iter().filter(|run| run.revision == revision).count();
    assert_eq!(tries(&world), 1);
    let plan = world.agent(&["plan"]);
    assert!(plan.contains("this revision failed and is not tried again until agent retry: "), "{plan}");
    world.ordered(&Order::Retry);
    assert_eq!(tries(&world), 2);
    world.live(&revision);
    world.all_well();
}

#[test]
fn losing_most_services_needs_a_persons_word() {
    let world = World::live_at_once();
    let start = COMPOSE.find("  web:").unwrap();
    let revision = world.repo.change("compose.yaml", &COMPOSE[..start]);
    world.deliver(&revision);
    let failure = world.failed(&revision);
    assert!(failure.message.contains("lost 2 of its 3 services"), "{failure:#?}");
    assert_eq!(world.says(WEB), "web 1");
    world.ordered(&Order::Deploy { allow_prune: true, despite_freeze: false });
    world.live(&revision);
    assert_eq!(world.running().into_keys().collect::<Vec<_>>(), ["nginx"]);
}

#[test]
fn a_rollback_may_lose_most_services() {
    let world = World::live_at_once();
    let more = |n: u32| {
        format!("  more{n}:\n    <<: *app\n    image: agenttest-base:1\n    command: [\"sleep\", \"1000\"]\n")
    };
    let grown = COMPOSE.to_owned() + &[more(1), more(2), more(3), more(4)].concat();
    let revision = world.repo.change("compose.yaml", &grown);
    world.deliver(&revision);
    world.live(&revision);
    assert_eq!(world.running().len(), 7);
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!(world.running().into_keys().collect::<Vec<_>>(), ["api", "nginx", "web"]);
    world.all_well();
}

#[test]
fn a_service_gone_from_the_repository_is_removed_last() {
    let mut world = World::empty();
    world.roll = "watch = \"15s\"\n".to_owned();
    crate::stack::write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let gone = world.container("api");
    let client = crate::client::Client::start(world.port, &[WEB]);
    let start = COMPOSE.find("  api:").unwrap();
    let revision = world.repo.change("compose.yaml", &COMPOSE[..start]);
    world.deliver(&revision);
    world.live(&revision);
    assert_eq!(world.running().into_keys().collect::<Vec<_>>(), ["nginx", "web"]);
    assert_eq!(world.get("/api/version.txt").status, 404);
    // It is there, stopped, as long as the release may be taken back.
    let phase = || try_docker(&["inspect", "-f", "{{.State.Status}}", &gone]);
    assert_eq!(phase(), (true, "exited".to_owned()));
    world.eventually("nothing left of it", || (!phase().0).then_some(()));
    client.all_good(&["web 1"]);
}

#[test]
fn an_edited_env_file_counts_when_a_person_says_deploy() {
    let mut world = World::empty();
    let compose = COMPOSE
        .replace("build: ./web\n", "build: ./web\n    environment: {GREETING: \"${GREETING:-none}\"}\n");
    crate::stack::write(&world.repo, &compose);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let before = world.running();
    let env = world.path().join("env");
    let text = std::fs::read_to_string(&env).unwrap();
    std::fs::write(&env, format!("{text}GREETING=hello\n")).unwrap();
    world.look();
    let after = world.running();
    assert_ne!(before["web"], after["web"]);
    assert_eq!((&before["api"], &before["nginx"]), (&after["api"], &after["nginx"]));
    assert!(environment(&world).contains("GREETING=hello"));
    // Once: the next word finds nothing to do. Its way back is the release before.
    let runs = world.runs().len();
    world.look();
    assert_eq!(world.runs().len(), runs);
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert!(environment(&world).contains("GREETING=none"));
}

/// What `web` was started with.
fn environment(world: &World) -> String {
    docker(&["inspect", "-f", "{{.Config.Env}}", &world.container("web")])
}
