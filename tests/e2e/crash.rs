//! The agent is killed at the worst moments: the site goes on, and the next start ends in the old release or the
//! new one, whole.

use agent::model::run::{Entry, Outcome};

use crate::docker::docker;
use crate::stack::WEB;
use crate::world::World;

/// Kills the daemon as soon as the log of a roll shows this, starts another, and sees it through.
fn killed_at(moments: &[fn(&Entry) -> bool]) {
    let mut world = World::live_at_once();
    let client = world.client();
    let mut versions = vec!["api 1".to_owned(), "web 1".to_owned()];
    for (version, reached) in (2..).zip(moments) {
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        let id = world.eventually("the moment", || {
            let run = world.runs().into_iter().find(|run| run.revision == revision)?;
            world.log(&run).iter().any(reached).then_some(run.id)
        });
        world.kill();
        assert_eq!(world.get(WEB).status, 200);
        world.start();
        let text = format!("web {version}");
        world.eventually("the second attempt", || (world.says(WEB) == text).then_some(()));
        world.live(&revision);
        versions.push(text);

        let cut_off = world.runs().into_iter().find(|run| run.id == id).unwrap();
        let ended = matches!(cut_off.outcome, Some(Outcome::Interrupted | Outcome::Succeeded));
        assert!(ended, "{cut_off:#?}");
        whole(&world);
    }
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    client.all_good(&versions);
}

/// One container for each service, and nothing beside them.
fn whole(world: &World) {
    let filter = format!("label=agent.stack={}", world.name);
    world.eventually("one container each", || {
        let all = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]);
        let running = all.lines().filter(|line| line.ends_with(" running")).count();
        (running == 3 && all.lines().count() == 3).then_some(())
    });
    for service in ["web", "api", "nginx"] {
        world.container(service);
    }
}

#[test]
fn killed_while_new_instances_come_up() {
    killed_at(&[
        |entry| matches!(entry, Entry::Building { .. }),
        |entry| matches!(entry, Entry::BringingUp { .. }),
        |entry| matches!(entry, Entry::Passed { .. }),
    ]);
}

#[test]
fn killed_around_the_switch() {
    killed_at(&[
        |entry| matches!(entry, Entry::Switching),
        |entry| matches!(entry, Entry::Switched),
        |entry| matches!(entry, Entry::Draining { .. }),
    ]);
}

#[test]
fn killed_while_putting_back() {
    let mut world = World::live_at_once();
    let client = world.client();
    let before = world.running();
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"sleep\", \"60\"]\n");
    world.deliver(&bad);
    world.eventually("the revert", || {
        let run = world.runs().into_iter().find(|run| run.revision == bad)?;
        world.log(&run).iter().any(|entry| matches!(entry, Entry::Reverting { .. })).then_some(())
    });
    world.kill();
    world.start();
    let failure = world.failed_at_last(&bad);
    assert!(failure.message.contains("nothing listens on port 8000"), "{failure:#?}");
    client.all_good(&["web 1", "api 1"]);
    assert_eq!(world.running(), before);
    whole(&world);
}

#[test]
fn the_site_goes_on_without_the_agent_even_when_nginx_restarts() {
    let mut world = World::live_at_once();
    let client = world.client();
    let before = world.running();
    world.kill();
    client.all_good(&["web 1", "api 1"]);
    docker(&["restart", &world.container("nginx")]);
    world
        .eventually("nginx", || crate::http::get(world.port, WEB).ok().filter(|answer| answer.status == 200));
    docker(&["restart", &world.container("web")]);
    world.eventually("web", || (world.get(WEB).status == 200).then_some(()));
    world.start();
    assert_eq!(world.running(), before, "a start finds everything as it should be");
}

#[test]
fn a_stopped_agent_ends_well_and_leaves_everything() {
    let mut world = World::live_at_once();
    let before = world.running();
    assert!(world.daemon.take().unwrap().terminate());
    assert_eq!(world.running(), before);
    let second = world.push_version("web", 2);
    world.start();
    world.live(&second);
}

#[test]
fn two_agents_never_share_a_state_folder() {
    let world = World::live_at_once();
    let log = world.path().join("second.log");
    let mut second = crate::daemon::Daemon::start(&world.write_config(), &log);
    world.eventually("the end of the second", || second.ended().then_some(()));
    let said = std::fs::read_to_string(log).unwrap();
    let first = world.daemon.as_ref().unwrap().id().to_string();
    assert!(said.contains(&format!("another agent (process {first})")), "{said}");
    world.look();
}
