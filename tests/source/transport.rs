//! Fetching over HTTP, SSH and files, and what is said when the other side refuses.

use std::fs;
use std::time::Duration;

use agent::model::Revision;
use agent::model::class::Class;
use agent::source::{Auth, Mirror, Remote, SourceError, timeouts};

use super::git_server::{HttpServer, SilentServer, SshServer, new_key};
use super::{World, chain, revision};

/// Where the branch points, asked without the mirror.
fn tip(mirror: &Mirror) -> Result<Revision, SourceError> {
    Mirror::ask(mirror.remote())
}

#[test]
fn a_clone_holds_what_the_branch_points_at() {
    let world = World::new();
    let mirror = world.mirror();
    let fetched = mirror.fetch(None).unwrap();
    assert_eq!(fetched.revision, world.head());
    assert!(fetched.downloaded && !fetched.forced && fetched.recloned.is_none());
    assert_eq!(mirror.read(&fetched.revision, "README.md").unwrap().unwrap(), b"hello\n");
    let subject = mirror.subject(&fetched.revision).unwrap();
    assert_eq!((subject.message.as_str(), subject.author.as_str()), ("change README.md", "Ada"));
    assert!(subject.time > 1_600_000_000);
}

#[test]
fn the_poll_asks_for_references_only() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    let mirror = world.mirror_of(&server.url("app"), Auth::None);
    let first = world.fetched(&mirror);
    assert!(server.take_seen().iter().any(|line| line.starts_with("POST")), "a clone asks for a pack");

    assert_eq!(tip(&mirror).unwrap(), first);
    let again = mirror.fetch(Some(&first)).unwrap();
    assert!(!again.downloaded && !again.forced);
    assert_eq!(server.take_seen(), ["GET /app.git/info/refs?service=git-upload-pack"; 2]);

    let second = world.repo.change("README.md", "again\n");
    assert_eq!(tip(&mirror).unwrap(), revision(&second));
    assert!(!server.take_seen().iter().any(|line| line.starts_with("POST")));
    let fetched = mirror.fetch(Some(&first)).unwrap();
    assert!(fetched.downloaded && !fetched.forced);
    assert_eq!(fetched.revision, revision(&second));
    assert!(mirror.is_ancestor(&first, &fetched.revision).unwrap());
    assert!(!mirror.is_ancestor(&fetched.revision, &first).unwrap());
}

#[test]
fn a_fetch_is_two_requests_however_long_the_history_is_and_brings_only_what_is_new() {
    let world = World::new();
    for n in 0..40 {
        world.repo.git(&["commit", "-q", "--allow-empty", "-m", &format!("commit {n}")]);
    }
    // So big that it would be noticed if it came twice.
    let noise: String =
        (0..200_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let first = revision(&world.repo.change("big", &noise));
    let server = HttpServer::start(world.path());
    let mirror = world.mirror_of(&server.url("app"), Auth::None);
    assert_eq!(world.fetched(&mirror), first);
    for n in 0..3 {
        server.take_seen();
        let next = revision(&world.repo.change("README.md", &format!("again {n}\n")));
        let fetched = mirror.fetch(Some(&first)).unwrap();
        assert_eq!((&fetched.revision, fetched.forced), (&next, false));
        let seen = server.take_seen();
        let asked = ["GET /app.git/info/refs?service=git-upload-pack", "POST /app.git/git-upload-pack"];
        assert_eq!(seen, asked);
        assert!(mirror.is_ancestor(&first, &next).unwrap());
    }
    let packs = fs::read_dir(world.path().join("mirror/objects/pack")).unwrap().flatten();
    let mut sizes: Vec<u64> = packs.map(|file| file.metadata().unwrap().len()).collect();
    sizes.sort_unstable();
    assert!(sizes.pop().unwrap() > 500_000 && sizes.iter().all(|size| *size < 10_000), "{sizes:?}");
}

#[test]
fn a_force_push_is_seen_and_refused_when_asked() {
    let world = World::new();
    let mirror = world.mirror();
    let base = world.fetched(&mirror);
    world.repo.change("a", "1");
    let before = world.fetched(&mirror);
    world.repo.git(&["reset", "-q", "--hard", base.as_str()]);
    let after = revision(&world.repo.change("a", "2"));

    let fetched = mirror.fetch(Some(&before)).unwrap();
    assert!(fetched.forced);
    assert_eq!(fetched.revision, after);
    assert!(!mirror.fetch(Some(&base)).unwrap().forced);
    // Back to a commit that is here already: a rewrite that needs no download.
    world.repo.git(&["push", "-q", "-f", "origin", &format!("{base}:main")]);
    let back = mirror.fetch(Some(&after)).unwrap();
    assert!(back.forced && !back.downloaded);

    let strict = Remote::new(&world.repo.file_url(), "main", Auth::None).unwrap().ff_only(true);
    let strict = Mirror::open(&world.path().join("mirror"), strict).unwrap();
    let error = strict.fetch(Some(&after)).unwrap_err();
    assert!(matches!(&error, SourceError::Rewritten { .. }), "{error}");
    assert_eq!(error.class(), Class::Stalled);
    assert!(strict.fetch(Some(&base)).is_ok());
}

#[test]
fn a_deleted_branch_and_an_empty_repository_are_told_apart() {
    let world = World::new();
    let mirror = world.mirror();
    let known = world.fetched(&mirror);
    world.repo.git(&["push", "-q", "origin", "HEAD:other"]);
    world.repo.git(&["push", "-q", "origin", ":main"]);
    for error in [tip(&mirror).unwrap_err(), mirror.fetch(Some(&known)).unwrap_err()] {
        assert!(error.to_string().ends_with("has no branch `main` (it has other)"), "{error}");
        assert_eq!(error.class(), Class::Stalled);
    }
    world.repo.git(&["push", "-q", "origin", ":other"]);
    assert!(matches!(tip(&mirror).unwrap_err(), SourceError::EmptyRepository { .. }));
    world.repo.git(&["push", "-q", "origin", "HEAD"]);
    assert_eq!(mirror.fetch(Some(&known)).unwrap().revision, known, "recovers by itself");
}

#[test]
fn a_vanished_remote_is_waited_for() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    let port = server.address.port();
    let mirror = world.mirror_of(&server.url("app"), Auth::None);
    let known = world.fetched(&mirror);
    drop(server);
    let error = tip(&mirror).unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Waiting);
    assert!(mirror.read(&known, "README.md").unwrap().is_some(), "what is here stays readable");
    let _server = HttpServer::start_on(world.path(), port);
    assert_eq!(tip(&mirror).unwrap(), known);
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    let ssh = SshServer::start(&world.path().join("ssh"));
    let key = world.path().join("key");
    new_key(&key);
    ssh.authorize(&key);
    let deploy = Auth::SshKey { file: key, host_keys: vec![ssh.fingerprint()] };
    for (url, auth) in [
        (server.url("absent"), Auth::None),
        ("file:///nowhere/absent.git".to_owned(), Auth::None),
        ("/nowhere/absent.git".to_owned(), Auth::None),
        (format!("file://{}", world.path().display()), Auth::None),
        (format!("{}", world.path().join("key").display()), Auth::None),
        (ssh.url("/nowhere/absent.git".as_ref()), deploy),
    ] {
        let error = tip(&world.mirror_of(&url, auth)).unwrap_err();
        assert!(matches!(&error, SourceError::NoSuchRepository { .. }), "{url}: {}", chain(&error));
        assert_eq!(error.class(), Class::Stalled, "{url}");
        assert!(error.hint().is_some(), "{url}");
    }
}

#[test]
fn a_wrong_token_is_refused_once_and_a_new_one_is_read() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    server.require_login("git", "right");
    let file = world.path().join("token");
    let mirror = world.mirror_of(&server.url("app"), Auth::Token { user: "git".into(), file: file.clone() });

    let error = tip(&mirror).unwrap_err();
    assert!(matches!(&error, SourceError::SecretFile { .. }), "{error}");
    fs::write(&file, "\n").unwrap();
    assert!(matches!(tip(&mirror).unwrap_err(), SourceError::SecretEmpty { .. }));
    fs::write(&file, "wrong-secret\n").unwrap();
    let error = mirror.fetch(None).unwrap_err();
    assert!(matches!(&error, SourceError::TokenRefused { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Stalled);
    assert!(!format!("{error:?} {}", chain(&error)).contains("wrong-secret"));
    fs::write(&file, "right\n").unwrap();
    assert_eq!(world.fetched(&mirror), world.head());

    server.refuse_with(Some(403));
    assert!(matches!(tip(&mirror).unwrap_err(), SourceError::Forbidden { .. }));
    server.refuse_with(Some(503));
    let error = tip(&mirror).unwrap_err();
    assert_eq!(error.class(), Class::Waiting, "{}", chain(&error));
}

#[test]
fn a_repository_that_wants_credentials_says_so() {
    let world = World::new();
    let server = HttpServer::start(world.path());
    server.require_login("git", "right");
    let error = tip(&world.mirror_of(&server.url("app"), Auth::None)).unwrap_err();
    assert!(matches!(&error, SourceError::CredentialsNeeded { .. }), "{}", chain(&error));
}

#[test]
fn a_deploy_key_opens_a_pinned_host() {
    let world = World::new();
    let server = SshServer::start(&world.path().join("ssh"));
    let key = world.path().join("key");
    new_key(&key);
    let auth = Auth::SshKey { file: key.clone(), host_keys: vec![server.fingerprint()] };
    let mirror = world.mirror_of(&server.url(&world.repo.bare), auth);

    let error = tip(&mirror).unwrap_err();
    assert!(matches!(&error, SourceError::KeyRefused { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Stalled);
    server.authorize(&key);
    let first = world.fetched(&mirror);
    assert_eq!(first, world.head());
    let second = revision(&world.repo.change("a", "1"));
    assert_eq!(mirror.fetch(Some(&first)).unwrap().revision, second);

    fs::write(&key, "not a key\n").unwrap();
    let error = tip(&mirror).unwrap_err();
    assert!(matches!(&error, SourceError::KeyUnusable { .. }), "{}", chain(&error));
    fs::remove_file(&key).unwrap();
    assert!(matches!(tip(&mirror).unwrap_err(), SourceError::SecretFile { .. }));
}

#[test]
fn a_changed_host_key_is_shown_with_the_pinned_one() {
    let world = World::new();
    let server = SshServer::start(&world.path().join("ssh"));
    let key = world.path().join("key");
    new_key(&key);
    server.authorize(&key);
    let url = server.url(&world.repo.bare);
    let pin = |host_keys| Auth::SshKey { file: key.clone(), host_keys };

    let error = tip(&world.mirror_of(&url, pin(vec!["SHA256:something-else".into()]))).unwrap_err();
    assert!(matches!(&error, SourceError::HostKeyChanged { .. }), "{}", chain(&error));
    let text = error.to_string();
    assert!(text.contains(&server.fingerprint()) && text.contains("SHA256:something-else"), "{text}");
    assert!(text.contains("127.0.0.1") && text.contains("ssh-ed25519"), "{text}");

    let error = tip(&world.mirror_of(&url, pin(vec![]))).unwrap_err();
    assert!(matches!(&error, SourceError::HostKeyUnknown { .. }), "{}", chain(&error));
    assert!(error.to_string().contains(&server.fingerprint()), "{error}");
}

#[test]
fn a_silent_server_is_given_up() {
    // Without the limit this test would never end.
    timeouts::limit(Duration::from_millis(500), Duration::from_millis(500), None).unwrap();
    let world = World::new();
    let server = SilentServer::start();
    let key = world.path().join("key");
    new_key(&key);
    for (url, auth) in [
        (format!("http://{}/app.git", server.address), Auth::None),
        (format!("https://{}/app.git", server.address), Auth::None),
        (format!("ssh://git@{}/app.git", server.address), Auth::SshKey { file: key, host_keys: vec![] }),
    ] {
        let error = tip(&world.mirror_of(&url, auth)).unwrap_err();
        assert!(matches!(&error, SourceError::Silent { .. }), "{url}: {}", chain(&error));
        assert_eq!(error.class(), Class::Waiting);
    }
}
