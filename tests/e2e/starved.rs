//! Disks that are full or may not be written, under the agent and under the engine: the site goes on, what is wrong
//! is told, and when there is room again the roll is done without a word.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use agent::model::run::Entry;

use crate::own_engine::{mount, small_disk, with_own_engine};
use crate::stack::{COMPOSE, WEB, write};
use crate::told::Moment;
use crate::world::World;

/// Takes all the room there is, until it is dropped.
struct Filler(PathBuf);

impl Filler {
    fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = fs::File::create(&path).expect("filler");
        // In ever smaller pieces, to the last byte.
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![1; size];
            while file.write_all(&piece).is_ok() {}
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("the filler goes");
    }
}

/// Its first version is live; nothing keeps it from filling its disks.
fn started(mut world: World) -> World {
    world.settings += "[build]\nmin_free_disk = \"0\"\n";
    write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world
}

#[test]
fn a_full_state_folder_costs_no_request_and_is_told() {
    with_own_engine(|_| {
        let world = World::empty();
        small_disk(&world.state(), 24);
        let world = started(world);
        let client = world.client();
        // What cannot be written down is not accepted: the sender is told so.
        let filler = Filler::fill(&world.state());
        let revision = world.push_version("web", 2);
        let refused = world.deliver_signed(&revision, "the webhook's secret");
        assert!(matches!(refused.status, 500..=503), "{refused:?}");
        drop(filler);
        world.deliver(&revision);
        world.live(&revision);

        for (version, moment) in (3..).zip(moments()) {
            let revision = world.push_version("web", version);
            world.deliver(&revision);
            world.comes_to(&revision, moment);
            let filler = Filler::fill(&world.state());
            world.eventually("its being told, or its end", || {
                let full = world.status().situation.wrong.is_some_and(|wrong| {
                    let message = wrong.failure.message;
                    assert!(message.contains("full") || message.contains("space"), "{message}");
                    true
                });
                let ended = world.runs().iter().any(|run| run.revision == revision && run.outcome.is_some());
                (full || ended).then_some(())
            });
            drop(filler);
            world.live_at_last(&revision);
            world.whole();
        }
        client.all_good(&["web 1", "web 2", "web 3", "web 4", "web 5", "api 1"]);
    });
}

/// As a roll begins, before its switch, and after it.
fn moments() -> [Moment; 3] {
    [
        |entry| matches!(entry, Entry::BringingUp { .. }),
        |entry| matches!(entry, Entry::Passed { .. }),
        |entry| matches!(entry, Entry::Switched),
    ]
}

#[test]
fn a_full_disk_of_the_engine_costs_no_request_and_is_told() {
    with_own_engine(|engine| {
        let world = World::empty();
        // The data is on a disk of its own from the next start on.
        engine.end("-TERM");
        small_disk(&engine.data(), 600);
        engine.begin();
        engine.load();
        let world = started(world);
        let client = world.client();
        let filler = Filler::fill(&engine.data());
        let revision = world.push_version("web", 2);
        world.deliver(&revision);
        let failure = world.wrong("the engine's disk is full");
        assert_eq!(failure.hint.as_deref(), Some("free some disk space"));
        drop(filler);
        world.live_at_last(&revision);
        assert_eq!(world.says(WEB), "web 2");
        world.whole();
        client.all_good(&["web 1", "web 2", "api 1"]);
    });
}

#[test]
fn a_record_that_may_not_be_written_is_told_at_the_start() {
    with_own_engine(|_| {
        let mut world = started(World::empty());
        world.kill();
        let client = world.client();
        let (database, log) = (world.state().join("agent.db"), world.path().join("second.log"));
        let path = database.display().to_string();
        mount(&["--bind", &path], &database);
        mount(&["-o", "remount,bind,ro"], &database);
        let mut daemon = crate::daemon::Daemon::start(&world.write_config(), &log);
        world.eventually("its end", || daemon.ended().then_some(()));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("agent.db") && said.contains("ead-only"), "{said}");
        let (_, status) = world.try_agent(&["status"]);
        assert!(status.contains("release 1,"), "what is live can still be read: {status}");
        assert!(std::process::Command::new("umount").arg(&database).status().unwrap().success());
        let second = world.push_version("web", 2);
        world.start();
        world.live(&second);
        client.all_good(&["web 1", "web 2", "api 1"]);
    });
}
