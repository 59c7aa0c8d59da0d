//! Whatever happens to the mirror's folder, the next fetch makes it good.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent::model::class::Class;
use agent::source::{Auth, Mirror, SourceError};

use super::git_server::HttpServer;
use super::{World, chain, revision};

fn packs(mirror: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(mirror.join("objects/pack")).unwrap().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "pack")).collect()
}

/// Overwrites what is read-only on disk.
fn spoil(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Something that may happen to the folder of a mirror.
type Damage = fn(&Path);

fn truncate_pack(mirror: &Path) {
    packs(mirror).iter().for_each(|pack| spoil(pack, |bytes| bytes.truncate(bytes.len() / 2)));
}

fn rot_pack(mirror: &Path) {
    // Header and trailer stay right, so that only reading an object finds out.
    packs(mirror).iter().for_each(|pack| {
        spoil(pack, |bytes| {
            let end = bytes.len() - 20;
            bytes[14..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        });
    });
}

fn remove_packs(mirror: &Path) {
    fs::remove_dir_all(mirror.join("objects")).unwrap();
}

fn remove_head(mirror: &Path) {
    fs::remove_file(mirror.join("HEAD")).unwrap();
}

fn garbage_reference(mirror: &Path) {
    fs::write(mirror.join("refs/agent/tip"), "garbage\n").unwrap();
}

fn reference_to_nothing(mirror: &Path) {
    fs::write(mirror.join("refs/agent/tip"), "0123456789abcdef0123456789abcdef01234567\n").unwrap();
}

fn left_lock(mirror: &Path) {
    fs::write(mirror.join("refs/agent/tip.lock"), "").unwrap();
}

fn garbage_config(mirror: &Path) {
    fs::write(mirror.join("config"), "[core\n").unwrap();
}

fn a_file_instead(mirror: &Path) {
    fs::remove_dir_all(mirror).unwrap();
    fs::write(mirror, "not a folder").unwrap();
}

fn an_empty_folder_instead(mirror: &Path) {
    fs::remove_dir_all(mirror).unwrap();
    fs::create_dir(mirror).unwrap();
}

fn nothing_instead(mirror: &Path) {
    fs::remove_dir_all(mirror).unwrap();
}

#[test]
fn a_damaged_mirror_is_cloned_anew() {
    let damages: [(&str, Damage); 11] = [
        ("truncated pack", truncate_pack),
        ("rotten pack", rot_pack),
        ("no objects", remove_packs),
        ("no HEAD", remove_head),
        ("garbage reference", garbage_reference),
        ("reference to nothing", reference_to_nothing),
        ("left lock", left_lock),
        ("garbage config", garbage_config),
        ("a file", a_file_instead),
        ("an empty folder", an_empty_folder_instead),
        ("nothing", nothing_instead),
    ];
    for (what, damage) in damages {
        let world = World::new();
        let first = world.fetched(&world.mirror());
        damage(&world.path().join("mirror"));
        let second = revision(&world.repo.change("README.md", "more\n"));

        // As after a restart, and as in a process that runs on.
        let mirror = world.mirror();
        let fetched = mirror.fetch(Some(&first)).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
        assert_eq!(fetched.revision, second, "{what}");
        assert!(!fetched.forced, "{what}: the history is whole again");
        assert_eq!(mirror.read(&second, "README.md").unwrap().unwrap(), b"more\n", "{what}");
        assert!(mirror.read(&first, "README.md").unwrap().is_some(), "{what}");
        let beside: Vec<_> = fs::read_dir(world.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!beside.iter().any(|n| n == "mirror.old" || n == "mirror.new"), "{what}: {beside:?}");
    }
}

#[test]
fn damage_met_while_reading_is_mended_by_the_next_fetch() {
    let world = World::new();
    world.repo.write("big", "line\n".repeat(5000));
    world.repo.push("big");
    let mirror = world.mirror();
    let known = world.fetched(&mirror);
    rot_pack(&world.path().join("mirror"));
    let error = mirror.read(&known, "big").unwrap_err();
    assert!(matches!(&error, SourceError::Damaged { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Waiting);
    let fetched = mirror.fetch(Some(&known)).unwrap();
    assert!(fetched.recloned.is_some());
    assert!(mirror.read(&known, "big").unwrap().is_some());
    assert!(mirror.fetch(Some(&known)).unwrap().recloned.is_none(), "once is enough");
}

#[test]
fn a_damaged_mirror_waits_for_the_remote() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    let port = server.address.port();
    let mirror = world.mirror_of(&server.url("app"), Auth::None);
    let known = world.fetched(&mirror);
    truncate_pack(&world.path().join("mirror"));
    drop(server);
    for _ in 0..2 {
        let error = mirror.fetch(Some(&known)).unwrap_err();
        assert!(matches!(&error, SourceError::Unreachable { .. }), "{}", chain(&error));
    }
    let _server = HttpServer::start_on(world.path(), port);
    assert!(mirror.fetch(Some(&known)).unwrap().recloned.is_some());
}

#[test]
fn a_killed_download_leaves_nothing_behind() {
    let world = World::new();
    world.fetched(&world.mirror());
    let left = world.path().join("mirror/objects/pack/pack_git2_1a2b3c");
    fs::write(&left, "half").unwrap();
    fs::create_dir_all(world.path().join("mirror.new/objects")).unwrap();
    let mirror = world.mirror();
    assert!(!left.exists());
    truncate_pack(&world.path().join("mirror"));
    assert!(mirror.fetch(None).unwrap().recloned.is_some(), "an unfinished clone is not in the way");
}

#[test]
fn an_overgrown_mirror_shrinks_and_keeps_its_history() {
    let world = World::new();
    let mirror = world.mirror();
    let first = world.fetched(&mirror);
    let (mut previous, mut most, mut shrunk) = (first.clone(), 0, None);
    for round in 0..55 {
        world.repo.change("README.md", &format!("{round}\n"));
        let fetched = mirror.fetch(Some(&previous)).unwrap();
        assert!(!fetched.forced, "round {round}");
        shrunk = shrunk.or(fetched.recloned);
        previous = fetched.revision;
        most = most.max(packs(&world.path().join("mirror")).len());
    }
    assert_eq!(shrunk.as_deref(), Some("it had 51 packs"));
    assert_eq!(most, 50);
    assert!(packs(&world.path().join("mirror")).len() < 10);
    assert!(mirror.is_ancestor(&first, &previous).unwrap());
}

#[test]
fn a_mirror_in_use_is_replaced_later() {
    let world = World::new();
    let mirror = world.mirror();
    let known = world.fetched(&mirror);
    let context = {
        world.repo.change("Dockerfile", "FROM scratch\n");
        let revision = world.fetched(&mirror);
        mirror.context(&revision, "", agent::source::Dockerfile::Path("Dockerfile")).unwrap()
    };
    // Damage that only fetching meets: the stream goes on.
    garbage_reference(&world.path().join("mirror"));
    let during = context.write_tar(During { mirror: mirror.clone(), seen: Vec::new() }).unwrap();
    assert!(!during.seen.is_empty());
    for error in &during.seen {
        assert!(error.contains("it is being read"), "{error}");
    }
    assert!(mirror.fetch(Some(&known)).unwrap().recloned.is_some());
}

/// A sink that fetches while it is written to.
struct During {
    mirror: Mirror,
    seen: Vec<String>,
}

impl std::io::Write for During {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Err(error) = self.mirror.fetch(None) {
            self.seen.push(chain(&error));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
