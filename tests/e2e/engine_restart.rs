//! The engine restarts, and nobody is there to help: the site comes back by itself, every path with its own app.

use crate::own_engine::{OwnEngine, with_own_engine};
use crate::stack::{API, WEB};
use crate::world::World;

#[test]
fn after_an_engine_restart_without_an_agent_every_path_answers_with_its_own_app() {
    with_own_engine(comes_back_by_itself);
}

fn comes_back_by_itself(engine: &OwnEngine) {
    let mut world = World::live_at_once();
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
    world.transcript("well");

    engine.end("-TERM");
    world.eventually("its being told", || world.status().situation.wrong.map(|_| ()));
    world.transcript("no-engine");
    engine.begin();
    world.all_well();
}
