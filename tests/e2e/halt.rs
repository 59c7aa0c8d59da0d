//! When the agent keeps its hands off, and when it takes them back.

use agent::model::run::{Kind, Outcome};
use agent::orders::Order;

use crate::docker::docker;
use crate::stack::{API, WEB};
use crate::world::World;

/// Waits until the loop has turned since its start and rests.
fn at_rest(world: &World) {
    world.eventually("rest", || {
        let status = world.status();
        let idle = status.situation.doing == agent::reconcile::Doing::Idle && !status.pending;
        (idle && status.situation.turns > 0).then_some(())
    });
}

#[test]
fn while_paused_nothing_is_deployed_or_healed_also_after_a_restart() {
    let mut world = World::live_at_once();
    world.ordered(&Order::Pause { millis: None });
    let runs = world.runs().len();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("a look", || (world.status().situation.tip.as_deref() == Some(&*second)).then_some(()));
    docker(&["rm", "-f", &world.container("api")]);
    world.kill();
    world.start();
    at_rest(&world);
    assert_eq!(world.runs().len(), runs);
    assert!(!world.running().contains_key("api"));
    assert_eq!(world.says(WEB), "web 1");
    world.transcript("paused");
    assert_ne!(world.order(&Order::Retry).status, 200, "a pause is ended by its name only");

    world.order(&Order::Resume);
    world.live(&second);
    assert_eq!((world.says(WEB), world.says(API)), ("web 2".into(), "api 1".into()));
}

#[test]
fn a_pause_ends_when_its_time_is_up() {
    let world = World::live_at_once();
    world.ordered(&Order::Pause { millis: Some(4_000) });
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("a look", || (world.status().situation.tip.as_deref() == Some(&*second)).then_some(()));
    let run = world.live(&second);
    assert_eq!(run.reason, "the pause is over");
}

#[test]
fn what_breaks_as_often_as_it_is_mended_is_left_until_a_person_says_so() {
    let world = World::live_at_once();
    for mended in 1..=5 {
        docker(&["rm", "-f", &world.container("web")]);
        world.eventually("mending", || {
            let heals = world.runs().into_iter().filter(|run| run.kind == Kind::Heal);
            let done = heals.filter(|run| run.outcome == Some(Outcome::Succeeded)).count();
            (done == mended).then_some(())
        });
    }
    docker(&["rm", "-f", &world.container("web")]);
    let failure = world.wrong("so it is left as it is: web");
    assert!(failure.hint.unwrap().contains("agent retry"));
    assert!(!world.running().contains_key("web"));
    world.transcript("degraded");
    assert_eq!(world.says(API), "api 1");

    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(world.says(WEB), "web 2");
    world.all_well();
}

#[test]
fn what_a_person_stopped_is_started_again_where_that_is_wanted() {
    let mut world = World::live_at_once();
    world.kill();
    world.settings.push_str("[drift]\nself_heal = true\n");
    world.start();
    at_rest(&world);
    let file = world.state().join("nginx/nginx.conf");
    let written = std::fs::read_to_string(&file).expect("nginx's file");
    std::fs::write(&file, format!("{written}# by hand\n")).expect("edited");
    docker(&["stop", &world.container("web")]);
    world.eventually("web again", || (world.get(WEB).status == 200).then_some(()));
    assert!(!std::fs::read_to_string(&file).expect("nginx's file").contains("by hand"));
}

#[test]
fn why_tells_of_a_service_with_the_daemon_down() {
    let mut world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    world.kill();
    let told = world.agent(&["why", "web"]);
    for part in ["running", &second[..10], "image changed", "start-first", "GET /web/version.txt", "/web/"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}
