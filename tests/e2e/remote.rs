//! Trouble with the Git side: told in words to act on, the apps untouched, over by itself when its cause is.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use agent::model::class::Class;

use crate::git_server::{SshServer, TlsFront, new_authority, new_key};
use crate::stack::WEB;
use crate::world::World;

/// Something is wrong with the remote: the site does not notice.
fn told(world: &World, message: &str) {
    let before = world.running();
    let client = world.client();
    world.look();
    let failure = world.wrong(message);
    let class = world.status().situation.wrong.expect("it stays wrong").class;
    assert!(class == Class::Waiting || failure.hint.is_some(), "{failure:#?}");
    assert_eq!(world.running(), before);
    client.all_good(&["web 1", "api 1"]);
}

/// Nobody says a word, and the second version goes live.
fn recovers(world: &World) {
    let second = world.push_version("web", 2);
    seen_live(world, &second);
}

/// The next look finds all well, and the second version goes live.
fn is_mended(world: &World) {
    let second = world.push_version("web", 2);
    world.deliver(&second);
    seen_live(world, &second);
}

fn seen_live(world: &World, second: &str) {
    world.live(second);
    assert_eq!(world.says(WEB), "web 2");
    world.all_well();
}

#[test]
fn a_wrong_token_is_told_and_a_right_one_counts_at_once() {
    let mut world = World::empty();
    let token = world.path().join("token");
    fs::write(&token, "right").unwrap();
    world.settings += &world.source(&format!("token_file = \"{}\"", token.display()));
    world.push_beside_the_server();
    world.git.as_ref().unwrap().require_login("x-access-token", "right");
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    fs::write(&token, "wrong").unwrap();
    told(&world, "refused the token");
    fs::write(&token, "right").unwrap();
    is_mended(&world);
}

#[test]
fn a_remote_that_vanishes_is_waited_for() {
    let mut world = World::live_at_once();
    let port = world.stop_git();
    told(&world, "cannot reach");
    let wrong = world.status().situation.wrong.unwrap();
    assert_eq!(wrong.class, Class::Waiting);
    assert!(wrong.again_at.is_some());
    world.start_git(port);
    recovers(&world);
}

#[test]
fn a_server_that_stays_silent_is_cut_off() {
    let mut world = World::live_at_once();
    let port = world.stop_git();
    // The kernel accepts in its place; nobody ever reads.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    told(&world, "did not answer in time");
    drop(silent);
    world.start_git(port);
    recovers(&world);
}

#[test]
fn a_deleted_branch_is_told_and_its_return_is_noticed() {
    let world = World::live_at_once();
    world.repo.git(&["push", "-q", "origin", "HEAD:refs/heads/other", ":main"]);
    told(&world, "no branch `main` (it has other)");
    is_mended(&world);
}

#[test]
fn a_rewritten_branch_is_followed() {
    let world = World::live_at_once();
    world.repo.write("web/version.txt", "web 2\n");
    world.repo.git(&["commit", "-q", "-a", "--amend", "-m", "another first version"]);
    let rewritten = world.repo.push("on top");
    world.deliver(&rewritten);
    world.live(&rewritten);
    assert_eq!(world.says(WEB), "web 2");
}

#[test]
fn a_rewritten_branch_is_refused_where_history_may_only_grow() {
    let mut world = World::empty();
    world.settings += &world.source("ff_only = true");
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world.repo.write("web/version.txt", "web 2\n");
    world.repo.git(&["commit", "-q", "-a", "--amend", "-m", "another first version"]);
    world.repo.push("on top");
    told(&world, "main");
    assert_eq!(world.says(WEB), "web 1");
    world.repo.git(&["reset", "-q", "--hard", &first]);
    let second = world.push_version("web", 3);
    world.deliver(&second);
    world.live(&second);
    assert_eq!(world.says(WEB), "web 3");
}

/// A world whose agent signs in with a deploy key, live; and the key.
fn over_ssh() -> (World, SshServer, PathBuf) {
    let mut world = World::empty();
    let server = SshServer::start(&world.path().join("ssh"));
    let key = world.path().join("deploy_key");
    new_key(&key);
    server.authorize(&key);
    world.url = server.url(&world.repo.bare);
    let (file, host) = (key.display(), server.fingerprint());
    world.settings += &world.source(&format!("ssh_key_file = \"{file}\"\nssh_host_keys = [\"{host}\"]"));
    world.push_beside_the_server();
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    (world, server, key)
}

#[test]
fn a_wrong_deploy_key_is_told_and_the_right_one_counts_at_once() {
    let (world, _server, key) = over_ssh();
    let right = fs::read(&key).unwrap();
    let other = world.path().join("other_key");
    new_key(&other);
    fs::copy(&other, &key).unwrap();
    told(&world, "refused the deploy key");
    fs::write(&key, right).unwrap();
    is_mended(&world);
}

#[test]
fn a_changed_host_key_is_told_and_the_pinned_one_counts_again() {
    let (world, server, _) = over_ssh();
    let (port, folder, pinned) = (server.port, world.path().join("ssh"), server.fingerprint());
    drop(server);
    for half in ["host", "host.pub"] {
        fs::rename(folder.join(half), folder.join(format!("{half}.kept"))).unwrap();
    }
    let changed = SshServer::start_on(&folder, port);
    told(&world, &format!("host key {}; pinned: {pinned}", changed.fingerprint()));
    drop(changed);
    for half in ["host", "host.pub"] {
        fs::rename(folder.join(format!("{half}.kept")), folder.join(half)).unwrap();
    }
    let _server = SshServer::start_on(&folder, port);
    is_mended(&world);
}

#[test]
fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let mut world = World::empty();
    let tls = world.path().join("tls");
    let server = TlsFront::start(&tls, world.git.as_ref().unwrap().address);
    world.url = server.url("shop");
    let plain = world.settings.clone();
    let with = |world: &World, file: &Path| world.source(&format!("ca_file = \"{}\"", file.display()));
    world.settings = plain.clone() + &with(&world, &server.authority);
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);

    let other = new_authority(&tls, "other");
    for settings in [world.source(""), with(&world, &other)] {
        world.kill();
        world.settings = plain.clone() + &settings;
        world.start();
        told(&world, "is not trusted");
        let hint = world.wrong("is not trusted").hint.unwrap();
        assert!(hint.contains("`ca_file` under [source]"), "{hint}");
    }

    fs::write(&other, "no certificate").unwrap();
    for file in [&other, &tls.join("absent.pem")] {
        world.settings = plain.clone() + &with(&world, file);
        world.write_config();
        let (success, said) = world.try_agent(&["check"]);
        let expected = format!("`ca_file` under [source], {}, cannot be used", file.display());
        assert!(!success && said.contains(&expected), "{said}");
    }
    world.kill();
    world.settings = plain + &with(&world, &server.authority);
    world.start();
    is_mended(&world);
}
