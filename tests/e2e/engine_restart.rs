//! The engine restarts: the site comes back by itself, every path with its own app; and a roll that it cut off is
//! brought to its end.

use agent::model::run::Entry;

use crate::own_engine::{OwnEngine, with_own_engine};
use crate::stack::{API, COMPOSE, WEB};
use crate::told::Moment;
use crate::world::World;

/// After a kill the engine takes all it finds running for stopped by a person: `unless-stopped` stays down.
pub(crate) fn live() -> World {
    World::live_with(&COMPOSE.replace("unless-stopped", "always"))
}

#[test]
fn after_an_engine_restart_without_an_agent_every_path_answers_with_its_own_app() {
    with_own_engine(comes_back_by_itself);
}

fn comes_back_by_itself(engine: &OwnEngine) {
    let mut world = live();
    world.kill();
    assert_eq!((world.says(WEB), world.says(API)), ("web 1".into(), "api 1".into()));

    for signal in ["-TERM", "-KILL"] {
        engine.restart(signal);
        for (path, version) in [(WEB, "web 1"), (API, "api 1")] {
            world.eventually("the app behind its own path", || {
                let answer = crate::http::get(world.port, path).ok().filter(|answer| answer.status == 200)?;
                assert_eq!(answer.body.trim(), version, "{path} is answered by another app");
                Some(())
            });
        }
    }
    // The agent finds everything as it left it.
    let before = world.running();
    world.start();
    world.look();
    assert_eq!(world.running(), before);
}

#[test]
fn a_roll_that_an_engine_restart_cuts_off_is_brought_to_its_end() {
    with_own_engine(cut_off);
}

fn cut_off(engine: &OwnEngine) {
    let world = live();
    let moments: [(&str, Moment); 4] = [
        ("-TERM", |entry| matches!(entry, Entry::BringingUp { .. })),
        ("-KILL", |entry| matches!(entry, Entry::Passed { .. })),
        ("-TERM", |entry| matches!(entry, Entry::Switching)),
        ("-KILL", |entry| matches!(entry, Entry::Switched)),
    ];
    for (version, (signal, reached)) in (2..).zip(moments) {
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        world.comes_to(&revision, reached);
        engine.restart(signal);
        world.eventually("the new version, without a word", || {
            let done = world.runs().iter().all(|run| run.outcome.is_some());
            let answer = crate::http::get(world.port, WEB).ok()?;
            (done && answer.body.trim() == format!("web {version}")).then_some(())
        });
        world.whole();
        assert_eq!(world.applied(), Some(revision));
        world.eventually("nothing wrong", || world.status().situation.wrong.is_none().then_some(()));
    }
}
