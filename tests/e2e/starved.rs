//! A disk that is full or may not be written when a push comes or the agent starts (`fault_table`: in the midst of
//! what it does): the site goes on, what is wrong is told, and when there is room again nothing has been missed.

use std::fs;

use crate::fault_table::Filler;
use crate::own_engine::{mount, small_disk, with_own_engine};
use crate::stack::{COMPOSE, write};
use crate::world::World;

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
fn a_push_that_cannot_be_written_down_is_refused() {
    with_own_engine(|_| {
        let world = World::empty();
        let _disk = small_disk(&world.state(), 24);
        let world = started(world);
        let client = world.client();
        let filler = Filler::fill(&world.state());
        let revision = world.push_version("web", 2);
        let refused = world.deliver_signed(&revision, "the webhook's secret");
        assert!(matches!(refused.status, 500..=503), "{refused:?}");
        drop(filler);
        world.deliver(&revision);
        world.live(&revision);
        client.all_good(&["web 1", "web 2", "api 1"]);
    });
}

#[test]
fn a_push_that_the_engine_has_no_room_for_goes_live_when_it_has() {
    with_own_engine(|engine| {
        // The data is on a disk of its own from the next start on.
        engine.end("-TERM");
        let _disk = small_disk(&engine.data(), 600);
        engine.begin();
        engine.load();
        let world = started(World::empty());
        let client = world.client();
        let filler = Filler::fill(&engine.data());
        let revision = world.push_version("web", 2);
        world.deliver(&revision);
        let failure = world.wrong("the engine's disk is full");
        assert_eq!(failure.hint.as_deref(), Some("free some disk space"));
        world.transcript("the-engine-s-disk-is-full");
        drop(filler);
        world.eventually("its being live", || (world.applied()? == revision).then_some(()));
        client.all_good(&["web 1", "web 2", "api 1"]);
        engine.end("-TERM");
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
