//! A release that turns bad after it was live: the whole release before it is back, and it is not tried again.

use agent::model::run::{Failure, Kind, Outcome};
use agent::orders::Order;
use agent::record::{Run, Target};

use crate::client::Client;
use crate::docker::docker;
use crate::stack::{API, COMPOSE, WEB, dockerfile};
use crate::world::World;

/// What `web` computes at each request.
const APP: &str = "/cgi-bin/app";

/// Tells its version until its fuse (seconds, if it has one) has burnt down; with `odd`, fails every other time; with
/// `needs`, whenever the other app does not answer.
const SCRIPT: &str = r#"#!/bin/sh
fail() {
    echo "it broke" >&2
    printf 'HTTP/1.0 500 Broken\r\nContent-Type: text/plain\r\n\r\nbroken'
    exit
}
cd /www/web
if [ -e fuse ] && [ $(($(date +%s) - $(cat /tmp/started))) -ge $(cat fuse) ]; then fail; fi
if [ -e odd ]; then
    n=$(cat /tmp/n)
    echo $((n + 1)) >/tmp/n
    [ $((n % 2)) = 1 ] && fail
fi
if [ -e needs ]; then timeout 1 wget -qO /dev/null http://api:8000/api/version.txt || fail; fi
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n'
cat version.txt
"#;

/// Both apps are live in their first version; `web` runs the script, beside these files.
fn world(files: &[(&str, &str)], compose: &str) -> World {
    let mut world = World::empty();
    crate::stack::write(&world.repo, compose);
    let probe = "agent.probe: /web/version.txt";
    let route = "agent.route.app.path: /cgi-bin/\n      agent.route.app.port: \"8000\"";
    world.repo.write("compose.yaml", compose.replace(probe, &format!("{probe}\n      {route}")));
    let script = "RUN mkdir /www/cgi-bin && mv /www/web/app /www/cgi-bin/ && chmod +x /www/cgi-bin/app\nCMD";
    // It takes its time to begin when it is restarted.
    let started = "[\"sh\", \"-c\", \"[ -e /tmp/started ] && sleep 4; date +%s >/tmp/started; \
        exec httpd -f -p 8000 -h /www\"]";
    let text = dockerfile("web").replace("CMD", script);
    let text = text[..text.find('[').unwrap()].to_owned() + started + "\n";
    world.repo.write("web/Dockerfile", text);
    world.repo.write("web/app", SCRIPT);
    for (name, content) in files {
        world.repo.write(&format!("web/{name}"), content);
    }
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world
}

/// Both apps change, and `web` with this file.
fn push_both(world: &World, file: &str, content: &str) -> String {
    world.repo.write("api/version.txt", "api 2\n");
    world.repo.write(&format!("web/{file}"), content);
    let revision = world.push_version("web", 2);
    world.deliver(&revision);
    // Its old instances may still be there.
    world.eventually("the new version", || (world.applied()? == revision).then_some(()));
    assert_eq!((world.says(WEB), world.says(API)), ("web 2".into(), "api 2".into()));
    revision
}

fn reverted(world: &World) -> Run {
    world.eventually("the way back", || {
        let run = world.runs().remove(0);
        (run.kind == Kind::Revert && run.outcome == Some(Outcome::Succeeded)).then_some(run)
    })
}

/// The release before is back, whole, and nothing but a person or a new commit changes that.
fn back_and_denied(world: &World, message: &str) -> Failure {
    let run = reverted(world);
    assert_eq!((world.says(WEB), world.says(API)), ("web 1".into(), "api 1".into()));
    assert_eq!(world.built(&run), [""; 0]);
    let failure = world.wrong(message);
    assert_eq!(failure.service.as_deref(), Some("web"));
    assert_eq!(world.target(), Target::Branch);
    world.look();
    assert_eq!(world.runs()[0].id, run.id, "the same revision was tried again");
    assert_eq!(world.wrong(message), failure);
    failure
}

#[test]
fn a_release_that_begins_to_fail_is_taken_back_whole() {
    let world = world(&[], COMPOSE);
    let client = Client::start(world.port, &[APP]);
    let bad = push_both(&world, "fuse", "3\n");
    let failure = back_and_denied(&world, "of its");
    assert!(failure.message.contains("server errors") && failure.message.contains("before the switch"));
    assert!(failure.log.contains("it broke"), "{failure:#?}");
    let told = world.agent(&["status"]);
    assert!(told.contains(&bad[..10]) && told.contains("server errors"), "{told}");
    world.transcript("went-bad");
    let asked = client.stop();
    let good = |status: u16, body: &str| status == 200 && matches!(body, "web 1" | "web 2");
    for asked in asked {
        let answer = asked.answer.unwrap();
        assert!(good(answer.status, answer.body.trim()) || answer.status == 500, "{answer:?}");
    }

    std::fs::remove_file(world.repo.tree().join("web/fuse")).unwrap();
    let mended = world.push_version("web", 3);
    world.deliver(&mended);
    world.live(&mended);
    assert_eq!((world.says(WEB), world.says(API)), ("web 3".into(), "api 2".into()));
    world.all_well();
}

/// Ends by itself after six seconds.
const EXITS: &str = "FROM agenttest-base:1\nCOPY . /www/web/\n\
    CMD [\"sh\", \"-c\", \"httpd -p 8000 -h /www; sleep 6; echo gave up; exit 7\"]\n";

#[test]
fn a_release_is_not_blamed_for_the_gap_of_the_next_push() {
    // Requests do not wait behind a template that knows no rooms.
    let mut world = World::empty();
    let built_in = include_str!("../../src/plan/nginx/nginx.conf.j2");
    let own: Vec<&str> = built_in.lines().filter(|line| !line.contains("$agent_room")).collect();
    let file = world.path().join("site.conf.j2");
    std::fs::write(&file, own.join("\n")).expect("template");
    world.settings += &format!("[nginx]\ntemplate = \"{}\"\n", file.display());
    let two = "build: ./web\n    volumes: [\"data:/data\"]\n    deploy: {replicas: 2, update_config: {order: stop-first}}";
    // Longer than it takes until nobody is found at an address: requests wait for that.
    let volume = COMPOSE.replace("build: ./web", two).replace("health_timeout: 3s", "health_timeout: 8s");
    crate::stack::write(&world.repo, &(volume + "volumes: {data: {}}\n"));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    let run = world.live(&second);
    let client = Client::start(world.port, &[WEB]);
    // Answers nobody, as long as its gate is patient; what ran stands still meanwhile, and takes its time to be back.
    let hangs = "FROM agenttest-base:1\nCMD [\"sleep\", \"60\"]\n";
    let bad = world.repo.change("web/Dockerfile", hangs);
    world.deliver(&bad);
    world.failed(&bad);
    // One of both is back before the other.
    let good = || world.get(WEB).body.trim() == "web 2";
    world.eventually("the release", || (0..8).all(|_| good()).then_some(()));
    let missed = client.stop().iter().filter(|asked| !asked.is_good(&["web 2"])).count();
    assert!(missed > 10, "{missed} requests failed: there was no gap to speak of");
    assert_eq!(world.target(), Target::Branch);
    assert_eq!(world.status().situation.watching.map(|watch| watch.run), Some(run.id));
}

#[test]
fn a_release_that_crashes_is_taken_back() {
    let world = world(&[], COMPOSE);
    push_both(&world, "Dockerfile", EXITS);
    // Which code it exited with is known only to who looks before it runs again.
    let failure = back_and_denied(&world, "and was restarted");
    assert!(failure.log.contains("gave up"), "{failure:#?}");
    // A person may insist.
    let runs = world.runs().len();
    world.order(&Order::Retry);
    world.eventually("the second attempt", || (world.runs().len() > runs + 1).then_some(()));
    back_and_denied(&world, "and was restarted");
}

#[test]
fn a_crash_that_nobody_restarts_is_taken_back_and_not_mended() {
    let world = world(&[], &COMPOSE.replace("restart: always", "restart: \"no\""));
    push_both(&world, "Dockerfile", EXITS);
    back_and_denied(&world, "it exited with code 7");
    assert!(world.runs().iter().all(|run| run.kind != Kind::Heal));
}

#[test]
fn a_release_whose_probe_fails_is_taken_back() {
    let world = world(&[], COMPOSE);
    let before = world.container("web");
    push_both(&world, "note", "nothing\n");
    let new = world.running()["web"].iter().find(|id| **id != before).unwrap().clone();
    docker(&["exec", &new, "mv", "/www/web/version.txt", "/www/web/gone.txt"]);
    back_and_denied(&world, "3 times in a row: GET /web/version.txt on port 8000 answers 404");
}

#[test]
fn errors_that_were_there_before_are_not_the_new_releases_fault() {
    let mut world = world(&[("odd", "")], COMPOSE);
    world.kill();
    world.roll = "watch = \"8s\"".into();
    world.start();
    let client = Client::start(world.port, &[APP]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    push_both(&world, "note", "nothing\n");
    world.eventually("the watch", || world.status().situation.watching);
    world.eventually("the end of the watch", || world.status().situation.watching.is_none().then_some(()));
    world.look();
    assert_eq!(world.says(WEB), "web 2");
    let asked = client.stop();
    let errors = asked.iter().filter(|asked| asked.answer.as_ref().is_ok_and(|a| a.status == 500)).count();
    assert!(errors * 4 > asked.len(), "{errors} of {} failed: nothing is shown", asked.len());
}

#[test]
fn what_the_engine_or_a_person_restarts_is_not_the_releases_fault() {
    let depends = "build: ./web\n    depends_on: [api]";
    let mut world = world(&[], &COMPOSE.replace("build: ./web", depends));
    world.repo.write("web/needs", "");
    let second = world.push_version("web", 2);
    world.deliver(&second);
    let watched = world.live(&second).id;
    let well = |world: &World| {
        world.eventually("the app", || (0..4).all(|_| world.get(APP).status == 200).then_some(()));
        let watching = world.status().situation.watching;
        assert_eq!((world.target(), watching.map(|watch| watch.run)), (Target::Branch, Some(watched)));
    };
    let client = Client::start(world.port, &[APP]);
    let api = world.container("api");
    docker(&["stop", &api]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    docker(&["start", &api]);
    well(&world);
    // It is judged once more by what comes after.
    std::thread::sleep(std::time::Duration::from_secs(3));
    well(&world);
    let asked = client.stop();
    let errors = asked.iter().filter(|asked| asked.answer.as_ref().is_ok_and(|a| a.status == 500)).count();
    assert!(errors >= 10, "{errors} failed: nothing is shown");

    // As when the machine starts anew.
    world.kill();
    docker(&["restart", "-t", "0", &world.container("web")]);
    world.start();
    well(&world);
}

#[test]
fn what_exits_while_the_next_push_replaces_what_it_depends_on_has_not_crashed() {
    let mut world = World::empty();
    let compose = COMPOSE
        .replace("build: ./web", "build: ./web\n    depends_on: [api]")
        .replace("build: ./api", "build: ./api\n    deploy: {update_config: {order: stop-first}}");
    let needy = "FROM agenttest-base:1\nCOPY . /www/web/\nCMD [\"sh\", \"-c\", \"httpd -p 8000 -h /www; \
        while timeout 1 wget -qO /dev/null http://api:8000/api/version.txt; do sleep 0.2; done; exit 7\"]\n";
    world.repo.write("web/Dockerfile", needy);
    let slow = dockerfile("api")
        .replace("[\"httpd\"", "[\"sh\", \"-c\", \"sleep 1; exec httpd \\\"$@\\\"\", \"httpd\"");
    world.repo.write("api/Dockerfile", slow);
    crate::stack::write(&world.repo, &compose);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    let web = world.container("web");
    let third = world.push_version("api", 2);
    world.deliver(&third);
    let run = world.live(&third);
    assert_eq!(world.container("web"), web);
    assert_ne!(docker(&["inspect", "-f", "{{.RestartCount}}", &web]).trim(), "0", "nothing is shown");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!((world.target(), world.applied()), (Target::Branch, Some(third)));
    assert_eq!(world.status().situation.watching.map(|watch| watch.run), Some(run.id));
    // Where the engine takes long to start it again, it is mended.
    assert!(world.runs().iter().all(|run| run.kind != Kind::Revert), "{:#?}", world.runs());
}

#[test]
fn an_agent_that_starts_again_and_the_next_release_go_on_watching() {
    let mut world = world(&[], COMPOSE);
    let client = Client::start(world.port, &[APP]);
    push_both(&world, "fuse", "6\n");
    let watching = Some(world.eventually("the watch", || world.status().situation.watching));
    world.kill();
    world.start();
    world.eventually("the watch", || (world.status().situation.watching == watching).then_some(()));
    back_and_denied(&world, "server errors");
    client.stop();

    // It turns bad after the next push, which is not at fault.
    std::fs::remove_file(world.repo.tree().join("web/fuse")).unwrap();
    let bad = world.push_version("web", 3);
    world.deliver(&bad);
    world.live(&bad);
    let next = world.push_version("api", 3);
    world.deliver(&next);
    world.live(&next);
    let client = Client::start(world.port, &[APP]);
    docker(&["exec", &world.container("web"), "sh", "-c", "echo 0 >/www/web/fuse"]);
    let failure = back_and_denied(&world, "server errors");
    assert!(failure.message.contains(&format!("after it went live with {}", &bad[..10])), "{failure:?}");
    let denied = world.record(async |record| record.denials(2).await.expect("the record"));
    assert!([bad, next].iter().all(|bad| denied.iter().any(|denial| denial.revision.as_str() == *bad)));
    client.stop();
}

#[test]
fn the_first_release_and_what_is_brought_back_are_not_watched() {
    let world = World::live_at_once();
    assert_eq!(world.status().situation.watching, None);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    assert!(world.status().situation.watching.is_some());
    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!(world.says(WEB), "web 1");
    assert_eq!(world.status().situation.watching, None);
}

#[test]
fn a_bad_successor_is_not_the_watched_releases_fault() {
    let world = World::live_at_once();
    let good = world.push_version("web", 2);
    world.deliver(&good);
    world.live(&good);
    let client = world.client();
    // It runs for a while before it ends: long enough to be looked at by whoever watches the release before it.
    let ends = "FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"sleep 2; exit 1\"]\n";
    let bad = world.repo.change("web/Dockerfile", ends);
    world.deliver(&bad);
    assert!(world.failed(&bad).message.starts_with("it "));
    assert_eq!(world.applied(), Some(good));
    assert_eq!(world.target(), Target::Branch);
    assert!(world.runs().iter().all(|run| run.kind == Kind::Deploy), "{:#?}", world.runs());
    client.all_good(&["web 2", "api 1"]);
}
