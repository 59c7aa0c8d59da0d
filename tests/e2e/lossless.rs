//! Nobody notices a roll: callers of every kind, at a fixed rate, before, during and after.

use std::time::Duration;

use agent::model::run::{Entry, Outcome};

use crate::docker::docker;
use crate::http;
use crate::load::Load;
use crate::load::client::Kind;
use crate::stack::{API, COMPOSE, WEB};
use crate::world::World;

/// `web` is served by a program that lets many connections wait and takes bodies: busybox's httpd keeps nine of them
/// waiting, which on a busy machine is a failure of its own.
pub(crate) fn sturdy(world: &World) -> String {
    world.repo.write(
        "web/nginx.conf",
        "events {}\nhttp {\n server {\n  listen 8000;\n  root /www;\n  client_max_body_size 1m;\n  \
         location /take { error_page 405 =200 /web/version.txt; try_files /web/version.txt =404; }\n }\n}\n",
    );
    let command = "CMD [\"nginx\", \"-c\", \"/www/web/nginx.conf\", \"-g\", \"daemon off;\"]";
    world.repo.write("web/Dockerfile", format!("FROM nginx:1.30\nCOPY . /www/web/\n{command}\n"));
    routed("agent.route.take.path: /take\n      agent.route.take.port: \"8000\"")
}

/// One more route to `web`.
pub(crate) fn routed(route: &str) -> String {
    let probe = "agent.probe: /web/version.txt";
    COMPOSE.replace(probe, &format!("{probe}\n      {route}"))
}

/// A service that asks `web` by its name all the time, and says when it gets no answer.
const CALLER: &str = "  caller:\n    <<: *app\n    image: agenttest-base:1\n    command:\n      - sh\n      - -c\n      - |\n        \
    until wget -qO- http://web:8000/web/version.txt 2>/dev/null; do sleep 0.1; done\n        \
    while sleep 0.05; do timeout 5 wget -qO- http://web:8000/web/version.txt || echo LOST; done\n";

pub(crate) fn live(world: &mut World, compose: &str) {
    crate::stack::write_apps(&world.repo, compose, &["web", "api"]);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
}

fn loads(world: &World) -> [Load; 3] {
    [
        Load::start(world.port, WEB, Kind::New, 30),
        Load::start(world.port, WEB, Kind::Kept, 30),
        Load::start(world.port, "/take", Kind::Post, 10),
    ]
}

fn lost_nothing(loads: [Load; 3], flips: usize) {
    for load in loads {
        let (kind, seen) = load.stop();
        assert_eq!((seen.failed, seen.flips), (0, flips), "{kind:?}: {seen:?}");
        assert!(seen.asked > 50 && (kind != Kind::Kept || seen.reused > 50), "{kind:?}: {seen:?}");
    }
}

#[test]
fn no_client_of_any_kind_loses_a_request_or_sees_the_old_version_again() {
    let mut world = World::empty();
    let compose = sturdy(&world) + CALLER;
    live(&mut world, &compose);
    let loads = loads(&world);
    for version in 2..=4 {
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        world.live(&revision);
    }
    lost_nothing(loads, 3);
    let answers = docker(&["logs", &world.container("caller")]);
    let told: Vec<&str> = answers.lines().skip_while(|line| *line != "web 1").collect();
    let mut met = told.clone();
    met.dedup();
    assert_eq!(met, ["web 1", "web 2", "web 3", "web 4"], "{answers}");
    let hosts = docker(&["exec", &world.container("caller"), "cat", "/etc/hosts"]);
    assert!(!hosts.contains("agent"), "{hosts}");
}

/// `web`, which stops first, in its second version, then in one that fails, then in its third. Returns its Dockerfile.
fn goes_and_comes_back(world: &mut World) -> String {
    let second = world.push_version("web", 2);
    world.deliver(&second);
    let run = world.live(&second);
    let gap = |entry: &Entry| matches!(entry, Entry::Gap { held: true, .. });
    assert!(world.log(&run).iter().any(gap), "{:#?}", world.log(&run));

    let good = std::fs::read_to_string(world.repo.tree().join("web/Dockerfile")).expect("a Dockerfile");
    world.repo.write("web/Dockerfile", format!("{good}CMD [\"false\"]\n"));
    let broken = world.repo.push("web is broken");
    world.deliver(&broken);
    world.failed(&broken);
    assert_eq!(world.says(WEB), "web 2");

    world.repo.write("web/Dockerfile", &good);
    let third = world.push_version("web", 3);
    world.deliver(&third);
    world.live(&third);
    good
}

#[test]
fn requests_for_what_stops_first_wait_until_it_is_there_also_when_it_comes_back_after_a_failure() {
    let mut world = World::empty();
    let mounts = "build: ./web\n    deploy: {update_config: {order: stop-first}}";
    // What hangs is waited for until it has been looked at.
    let compose = sturdy(&world).replace("build: ./web", mounts).replace("timeout: 3s", "timeout: 15s");
    live(&mut world, &compose);
    let loads = loads(&world);
    let good = goes_and_comes_back(&mut world);

    // It answers nobody, and somebody pushes again before the gate has lost its patience.
    let hangs = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"sleep\", \"60\"]\n");
    world.deliver(&hangs);
    let stopped = |entry: &Entry| matches!(entry, Entry::BringingUp { .. });
    world.eventually("the gap", || {
        let run = world.runs().into_iter().find(|run| run.revision == hangs)?;
        world.log(&run).iter().any(stopped).then_some(())
    });
    world.eventually("the new one", || world.agent(&["status"]).contains("running, new").then_some(()));
    world.transcript("gap");
    world.repo.write("web/Dockerfile", good);
    let fourth = world.push_version("web", 4);
    world.deliver(&fourth);
    world.live(&fourth);
    assert!(matches!(world.ended(&hangs).outcome, Some(Outcome::Superseded { .. })), "nothing was hurried");
    lost_nothing(loads, 3);
}

#[test]
fn requests_wait_for_several_that_stop_first() {
    let mut world = World::empty();
    let several = "build: ./web\n    deploy: {replicas: 2, update_config: {order: stop-first}}";
    let compose = sturdy(&world).replace("build: ./web", several);
    live(&mut world, &compose);
    let loads = loads(&world);
    goes_and_comes_back(&mut world);
    lost_nothing(loads, 2);
}

/// `web` stops first and takes a moment; `api` has another route.
fn beside_another_route() -> World {
    let mut world = World::empty();
    let stops = "build: ./web\n    deploy: {update_config: {order: stop-first}}\n    command: \
                 [sh, -c, \"sleep 1; exec nginx -c /www/web/nginx.conf -g 'daemon off;'\"]";
    let probe = "agent.probe: /api/version.txt";
    let compose = sturdy(&world).replace("build: ./web", stops);
    let more = "agent.route.more.path: /more\n      agent.route.more.port: \"8000\"";
    let compose = compose.replace(probe, &format!("{probe}\n      {more}"));
    let script = "#!/bin/sh\nsleep 25\nprintf \"Content-Type: text/plain\\r\\n\\r\\nlate\"\n";
    world.repo.write("api/slow", script);
    let placed =
        "RUN mkdir /www/cgi-bin && mv /www/api/slow /www/cgi-bin/ && chmod +x /www/cgi-bin/slow\nCMD";
    world.repo.write("api/Dockerfile", crate::stack::dockerfile("api").replace("CMD", placed));
    live(&mut world, &compose);
    world
}

#[test]
fn nobody_waits_longer_because_a_route_of_another_service_answers_late() {
    let world = beside_another_route();
    let load = Load::start(world.port, WEB, Kind::New, 10);
    world.repo.write("web/version.txt", "web 2\n");
    let second = world.push_compose("agent.route.more.path: /more", "agent.route.more.path: /cgi-bin/slow");
    world.deliver(&second);
    world.live(&second);
    let (_, seen) = load.stop();
    assert_eq!((seen.failed, seen.flips), (0, 1), "{seen:?}");
    assert!(seen.slowest < 8000.0, "{seen:?}");
}

#[test]
fn nobody_is_lost_on_the_way_back_from_a_route_of_another_service_that_leads_nowhere() {
    let world = beside_another_route();
    let load = Load::start(world.port, WEB, Kind::New, 20);
    world.repo.write("web/version.txt", "web 2\n");
    let bad = world.push_compose("agent.route.more.port: \"8000\"", "agent.route.more.port: \"8001\"");
    world.deliver(&bad);
    let failure = world.failed(&bad);
    assert!(failure.message.contains("leads nowhere"), "{failure:?}");
    assert_eq!(world.says(WEB), "web 1");
    let (_, seen) = load.stop();
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(seen.versions.len(), 2, "nobody came to the new one: {seen:?}");
}

#[test]
fn on_the_way_back_nobody_waits_for_what_another_service_has_to_finish() {
    let mut world = World::empty();
    let mounts = "build: ./web\n    deploy: {update_config: {order: stop-first}}";
    let worker = "  worker:\n    image: agenttest-base:1\n    stop_grace_period: 60s\n    environment: {A: \"1\"}\n    \
                  command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]\n";
    let compose = sturdy(&world).replace("build: ./web", mounts) + worker;
    live(&mut world, &compose);
    let load = Load::start(world.port, WEB, Kind::New, 30);
    world.repo.write("compose.yaml", compose.replace("A: \"1\"", "A: \"2\""));
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    world.comes_to(&bad, |entry| matches!(entry, Entry::Reverting { .. }));
    assert_eq!(world.says(WEB), "web 1");
    let running = docker(&["ps", "--format", "{{.Names}}"]);
    assert!(running.contains(&format!("{}-worker-2", world.name)), "it was waited for: {running}");
    let (_, seen) = load.stop();
    assert_eq!((seen.failed, seen.flips), (0, 0), "{seen:?}");
}

#[test]
fn an_agent_killed_after_a_switch_loses_nobody_who_comes_later() {
    let mut world = World::empty();
    let several = "build: ./web\n    deploy: {replicas: 2, update_config: {order: stop-first}}";
    let compose = sturdy(&world).replace("build: ./web", several);
    live(&mut world, &compose);
    let file = world.state().join("nginx/nginx.conf");
    let read = || std::fs::read_to_string(&file).expect("nginx's file");
    let before = read();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("the switch", || (read() != before).then_some(()));
    // nginx goes by the new file, and the record does not say so yet.
    std::thread::sleep(Duration::from_millis(100));
    world.kill();
    let load = Load::start(world.port, WEB, Kind::New, 50);
    std::thread::sleep(Duration::from_millis(500));
    world.start();
    world.eventually("the release", || (world.applied()? == second).then_some(()));
    let (_, seen) = load.stop();
    assert_eq!(seen.failed, 0, "{seen:?}");
}

#[test]
fn requests_wait_for_what_stops_first_also_when_it_comes_back_because_nginx_was_changed_for_the_worse() {
    let mut world = World::empty();
    let stops = "build: ./web\n    deploy: {update_config: {order: stop-first}}\n    command: \
                 [sh, -c, \"sleep 1; exec nginx -c /www/web/nginx.conf -g 'daemon off;'\"]";
    let compose = sturdy(&world).replace("build: ./web", stops);
    live(&mut world, &compose);
    let load = Load::start(world.port, WEB, Kind::New, 30);
    let broken = compose.replace("image: nginx:1.30", "image: nginx:1.30\n    command: [\"false\"]");
    world.repo.write("compose.yaml", broken);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    let failure = world.failed(&second);
    assert_eq!(failure.service.as_deref(), Some("nginx"), "{failure:?}");
    world.eventually("the first version", || (world.says(WEB) == "web 1").then_some(()));
    let (_, seen) = load.stop();
    // nginx itself had a gap, and who found nobody there saw that.
    assert!(!seen.reasons.keys().any(|reason| reason.starts_with("status")), "{seen:?}");
}

#[test]
fn an_agent_that_is_told_to_end_in_a_gap_lets_everybody_out_of_it() {
    let mut world = World::empty();
    let stops = "build: ./web\n    deploy: {update_config: {order: stop-first}}\n    command: \
                 [sh, -c, \"sleep 2; exec nginx -c /www/web/nginx.conf -g 'daemon off;'\"]";
    // Who waits is not waiting for the app yet.
    let impatient = "agent.route.path: /web/\n      agent.route.timeout: 1s";
    let compose = sturdy(&world).replace("build: ./web", stops).replace("agent.route.path: /web/", impatient);
    live(&mut world, &compose);
    let old = world.container("web");
    let load = Load::start(world.port, WEB, Kind::New, 30);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("the gap", || {
        (docker(&["inspect", "-f", "{{.State.Running}}", &old]).trim() == "false").then_some(())
    });
    assert!(world.daemon.take().expect("a daemon").terminate());
    assert_eq!(world.says(WEB), "web 2", "with the agent down");
    let (_, seen) = load.stop();
    assert_eq!((seen.failed, seen.flips), (0, 1), "{seen:?}");
    world.start();
    world.live(&second);
}

#[test]
fn nobody_meets_a_new_service_and_then_an_old_one() {
    // `web` also tells what `api` says when it asks it by its name.
    let mut world = World::empty();
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\ncat /www/web/version.txt\n\
                  wget -qO- http://api:8000/api/version.txt || echo nobody\n";
    world.repo.write("web/both", script);
    let placed =
        "RUN mkdir /www/cgi-bin && mv /www/web/both /www/cgi-bin/ && chmod +x /www/cgi-bin/both\nCMD";
    world.repo.write("web/Dockerfile", crate::stack::dockerfile("web").replace("CMD", placed));
    live(&mut world, &routed("agent.route.both.path: /cgi-bin/\n      agent.route.both.port: \"8000\""));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let port = world.port;
    let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    // Each asks one, then the other: a new answer must not be followed by an old one.
    let asks = |first: &'static str, then: Option<&'static str>| {
        let (mut wrong, mut new) = (Vec::new(), 0);
        while !stopped() {
            let answers = [Some(first), then].into_iter().flatten();
            let said: String = answers.map(|path| http::get(port, path).expect("an answer").body).collect();
            new += usize::from(said.matches('2').count() == 2);
            if said.lines().next().is_some_and(|line| line.ends_with('2')) && said.matches('2').count() != 2 {
                wrong.push(said);
            }
        }
        assert!(new > 0, "the new version was never met");
        wrong
    };
    std::thread::scope(|scope| {
        let asking = [(WEB, Some(API)), (API, Some(WEB)), ("/cgi-bin/both", None)];
        let asking = asking.map(|(first, then)| scope.spawn(move || asks(first, then)));
        world.repo.write("web/version.txt", "web 2\n");
        let second = world.push_version("api", 2);
        world.deliver(&second);
        world.live(&second);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for asked in asking {
            assert_eq!(asked.join().expect("asked"), [""; 0]);
        }
    });
}

#[test]
fn a_failure_in_the_last_of_four_leaves_all_four_as_they_were() {
    let mut world = World::empty();
    let more: String = ["one", "two"]
        .iter()
        .map(|app| {
            let (_, api) = COMPOSE.split_once("  api:\n").expect("the last app");
            format!(
                "  {app}:\n{}",
                api.replace("./api", &format!("./{app}")).replace("/api/", &format!("/{app}/"))
            )
        })
        .collect();
    let compose = COMPOSE.to_owned() + &more;
    let apps = ["web", "api", "one", "two"];
    crate::stack::write_apps(&world.repo, &compose, &apps);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let before = world.running();
    let loads = [WEB, API, "/one/version.txt", "/two/version.txt"]
        .map(|path| Load::start(world.port, path, Kind::New, 20));
    for app in &apps[..3] {
        world.repo.write(&format!("{app}/version.txt"), format!("{app} 2\n"));
    }
    let bad = world
        .repo
        .change("two/Dockerfile", "FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"sleep 1; false\"]\n");
    world.deliver(&bad);
    assert_eq!(world.failed(&bad).service.as_deref(), Some("two"));
    assert_eq!(world.running(), before);
    for load in loads {
        let (_, seen) = load.stop();
        assert_eq!((seen.failed, seen.flips), (0, 0), "{seen:?}");
    }
}
