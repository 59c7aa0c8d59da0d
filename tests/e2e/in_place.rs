//! Mounted folders whose content changes under running containers.

use agent::model::run::{Entry, Outcome};
use agent::orders::Order;

use crate::stack::{API, COMPOSE, WEB};
use crate::world::World;

const LOADED: &str = "/words/loaded.txt";

/// `web` shows a folder of the repository; `words` reads one at its start and on a signal, and ends on a bad word.
fn world() -> World {
    let web = "build: ./web\n    volumes: [\"./site:/www/web/site:ro\"]";
    let probe = "agent.probe: /web/version.txt";
    let compose = COMPOSE.replacen("build: ./web", web, 1).replacen(
        probe,
        &format!("{probe}\n      agent.on_change: /www/web/site=none"),
        1,
    );
    let script = "load() { grep -q bad /etc/words/list && exit 3; cp /etc/words/list /www/words/loaded.txt; }; \
                  mkdir -p /www/words; trap load HUP; load; httpd -p 8000 -h /www; while :; do sleep 1 & wait $$!; done";
    let words = format!(
        "  words:\n    <<: *app\n    image: agenttest-base:1\n    command: [\"sh\", \"-c\", {script:?}]\n    \
         volumes: [\"./words:/etc/words:ro\"]\n    labels:\n      agent.on_change: /etc/words=signal:HUP\n      \
         agent.route.port: \"8000\"\n      agent.route.path: /words/\n      agent.probe: {LOADED}\n      \
         agent.settle: 500ms\n      agent.health_timeout: 3s\n"
    );
    let mut world = World::empty();
    world.repo.write("site/page.txt", "page 1\n");
    world.repo.write("site/old.txt", "old\n");
    world.repo.write("words/list", "words 1\n");
    crate::stack::write(&world.repo, &(compose + &words));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world
}

fn says_eventually(world: &World, path: &str, text: &str) {
    world.eventually(text, || {
        let answer = crate::http::get(world.port, path).ok()?;
        (answer.status == 200 && answer.body.trim() == text).then_some(())
    });
}

#[test]
fn new_content_reaches_running_containers_and_a_rollback_takes_it_back() {
    let world = world();
    let (before, client) = (world.running(), world.client());
    assert_eq!(world.says("/web/site/page.txt"), "page 1");
    world.repo.git(&["rm", "-q", "site/old.txt"]);
    world.repo.write("site/page.txt", "page 2\n");
    world.repo.write("site/new.txt", "new\n");
    let second = world.repo.change("words/list", "words 2\n");
    world.deliver(&second);
    let run = world.live(&second);
    assert_eq!(world.says("/web/site/page.txt"), "page 2");
    assert_eq!(world.says("/web/site/new.txt"), "new");
    assert_eq!(world.get("/web/site/old.txt").status, 404);
    says_eventually(&world, LOADED, "words 2");
    assert_eq!(world.running(), before, "a container was exchanged");
    let refreshed = |entry: &Entry| matches!(entry, Entry::Refreshing { .. });
    assert_eq!(world.log(&run).iter().filter(|entry| refreshed(entry)).count(), 2);

    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!(world.says("/web/site/page.txt"), "page 1");
    assert_eq!(world.says("/web/site/old.txt"), "old");
    says_eventually(&world, LOADED, "words 1");
    assert_eq!(world.running(), before);
    client.all_good(&["web 1", "api 1"]);
}

#[test]
fn content_that_ends_a_program_is_put_back_everywhere() {
    let world = world();
    let web = world.container("web");
    let client = world.client();
    world.repo.write("site/page.txt", "page 2\n");
    let bad = world.repo.change("words/list", "bad words\n");
    world.deliver(&bad);
    let failure = world.failed(&bad);
    assert_eq!(failure.service.as_deref(), Some("words"));
    says_eventually(&world, LOADED, "words 1");
    assert_eq!(world.says("/web/site/page.txt"), "page 1");
    assert_eq!(world.container("web"), web);
    let good = world.repo.change("words/list", "words 3\n");
    world.deliver(&good);
    world.live(&good);
    says_eventually(&world, LOADED, "words 3");
    assert_eq!(world.says("/web/site/page.txt"), "page 2");
    client.all_good(&["web 1", "api 1"]);
}

#[test]
fn a_new_container_has_the_new_content_and_the_old_one_keeps_its_own() {
    let world = world();
    let before = world.running();
    world.repo.write("site/page.txt", "page 2\n");
    // Never healthy: the new container is there, with the new content, for as long as its gate waits.
    let probe = "agent.probe: /web/version.txt";
    world.repo.write("web/version.txt", "web 2\n");
    let second = world.push_compose(probe, "agent.probe: /web/nothing.txt");
    world.deliver(&second);
    let mut seen = Vec::new();
    let run = world.eventually("the end", || {
        seen.push(world.says("/web/site/page.txt"));
        world.runs().into_iter().find(|run| run.revision == second).filter(|run| run.outcome.is_some())
    });
    assert!(matches!(run.outcome, Some(Outcome::Failed { .. })), "{run:#?}");
    assert!(seen.iter().all(|page| page == "page 1"), "{seen:?}");
    assert_eq!(world.running(), before);

    let third = world.push_compose("agent.probe: /web/nothing.txt", probe);
    world.deliver(&third);
    world.live(&third);
    assert_eq!((world.says(WEB), world.says("/web/site/page.txt")), ("web 2".into(), "page 2".into()));
    assert_eq!(world.says(API), "api 1");
    assert_ne!(world.container("web"), before["web"][0]);
}
