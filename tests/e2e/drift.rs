//! What happens to containers behind the agent's back.

use agent::model::run::{Kind, Outcome};

use crate::docker::docker;
use crate::stack::{API, WEB};
use crate::world::World;

#[test]
fn a_removed_container_is_brought_back() {
    let world = World::live_at_once();
    let before = world.running();
    docker(&["rm", "-f", &before["web"][0]]);
    world.eventually("web again", || (world.get(WEB).status == 200).then_some(()));
    let run = world.runs().remove(0);
    assert_eq!(run.kind, Kind::Heal);
    world
        .eventually("the end", || (world.runs().remove(0).outcome == Some(Outcome::Succeeded)).then_some(()));
    let after = world.running();
    assert_eq!((&before["api"], &before["nginx"]), (&after["api"], &after["nginx"]));
    assert_ne!(before["web"], after["web"]);
}

#[test]
fn a_removed_nginx_is_brought_back() {
    let world = World::live_at_once();
    let before = world.running();
    docker(&["rm", "-f", &before["nginx"][0]]);
    world.eventually("nginx again", || crate::http::get(world.port, WEB).ok().filter(|a| a.status == 200));
    assert_eq!(world.says(API), "api 1");
    let after = world.running();
    assert_eq!((&before["api"], &before["web"]), (&after["api"], &after["web"]));
}

#[test]
fn an_app_that_is_gone_costs_its_own_path_only() {
    let mut world = World::live_at_once();
    world.kill();
    docker(&["rm", "-f", &world.container("web")]);
    assert!(matches!(world.get(WEB).status, 502..=504));
    assert_eq!(world.says(API), "api 1");
    docker(&["restart", &world.container("nginx")]);
    world.eventually("nginx", || crate::http::get(world.port, API).ok().filter(|a| a.status == 200));
    assert!(matches!(world.get(WEB).status, 502..=504));
    world.start();
    world.eventually("web again", || (world.get(WEB).status == 200).then_some(()));
}

#[test]
fn what_a_person_stopped_is_told_and_left_until_the_next_release() {
    let world = World::live_at_once();
    let web = world.container("web");
    let file = world.state().join("nginx/nginx.conf");
    let edited = std::fs::read_to_string(&file).expect("nginx's file") + "# by hand\n";
    let told = |end: &str| {
        world.eventually(end, || {
            let drift = world.status().situation.drift;
            drift.iter().any(|what| what.ends_with(end)).then_some(())
        });
    };
    docker(&["stop", &web]);
    told("-web-1 was stopped by hand");
    // What that has begun is over.
    world.look();
    std::fs::write(&file, &edited).expect("edited");
    world.look();
    told("nginx.conf was edited by hand");
    world.look();
    assert_eq!(std::fs::read_to_string(&file).expect("nginx's file"), edited);
    assert!(!world.running().contains_key("web"));
    world.transcript("stopped-by-hand");
    let second = world.push_version("api", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(world.says(WEB), "web 1");
    assert_eq!(world.says(API), "api 2");
    world.eventually("no drift", || world.status().situation.drift.is_empty().then_some(()));
}

#[test]
fn compose_shows_the_stack_as_its_own() {
    let world = World::live_at_once();
    let compose = |arguments: &[&str]| {
        let done = std::process::Command::new("docker-compose")
            .current_dir(world.repo.tree())
            .env("PORT", world.port.to_string())
            .args(["-p", &world.name])
            .args(arguments)
            .output()
            .expect("docker-compose");
        String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
    };
    let listed = compose(&["ps"]);
    for service in ["web", "api", "nginx"] {
        let line = listed.lines().find(|line| line.contains(&format!("{}-{service}-1", world.name)));
        assert!(line.is_some_and(|line| line.contains("Up")), "{listed}");
    }
    assert!(compose(&["exec", "-T", "web", "cat", "/www/web/version.txt"]).contains("web 1"));
}

#[test]
fn what_runs_is_mended_while_something_newer_cannot_be_reached() {
    let world = World::live_at_once();
    // Nobody listens there: the engine may come by the image another time.
    let unreachable = world.repo.change("web/Dockerfile", "FROM 127.0.0.1:1/nothing:1\n");
    world.deliver(&unreachable);
    world.eventually("trouble", || world.status().situation.wrong.is_some().then_some(()));
    docker(&["rm", "-f", &world.container("api")]);
    world.eventually("api again", || (world.get(API).status == 200).then_some(()));
    assert_eq!(world.says(WEB), "web 1");
    assert!(world.status().situation.wrong.is_some(), "what is wrong was forgotten");
}
