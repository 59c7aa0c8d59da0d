//! News on its way out over HTTPS, to somebody whose certificate an authority of ours has signed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::git_server::TlsFront;
use crate::stack;
use crate::world::World;

/// Answers every POST with 204 and keeps its body.
fn listen() -> (TcpListener, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let (accepting, kept) = (listener.try_clone().unwrap(), Arc::clone(&told));
    thread::spawn(move || {
        for stream in accepting.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let header = line.to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if length == 0 || reader.read_exact(&mut body).is_err() {
                continue;
            }
            kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            let _ = reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    (listener, told)
}

#[test]
fn whom_nobody_can_tell_keeps_no_run_waiting() {
    let mut world = World::empty();
    // One takes the connection and says nothing, nobody listens at the other.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, at) in [("slack", silent.local_addr().unwrap()), ("discord", gone)] {
        let file = world.path().join(name);
        std::fs::write(&file, format!("http://{at}/")).unwrap();
        world.settings += &format!("[notify.{name}]\nurl_file = \"{}\"\nall = true\n", file.display());
    }
    stack::write(&world.repo, stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    let run = world.live(&first);
    let mut at =
        world.record(async |record| record.log(run.id, 0).await).unwrap().into_iter().map(|logged| logged.at);
    let (first, last) = (at.next().unwrap(), at.next_back().unwrap());
    let waits = [first - run.started_at, run.ended_at.unwrap() - last];
    assert!(waits.iter().all(|ms| *ms < 15_000), "{waits:?} ms: as long as the silent one is waited for");
    let log = || std::fs::read_to_string(world.log_file()).unwrap();
    world.eventually("both to be missed", || {
        let log = log();
        (log.contains("target=\"slack\"") && log.contains("target=\"discord\"")).then_some(())
    });
}

#[test]
fn a_certificate_is_checked_and_what_could_not_be_told_is_told_once_its_authority_is_known() {
    let mut world = World::empty();
    let (listener, told) = listen();
    let tls = TlsFront::start(&world.path().join("tls"), listener.local_addr().unwrap());
    let secret = world.path().join("notify");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (port, secret) = (tls.port, secret.display());
    world.settings +=
        &format!("[notify.webhook]\nurl = \"https://127.0.0.1:{port}/hook\"\nsecret_file = \"{secret}\"\n");
    stack::write(&world.repo, stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let log = || std::fs::read_to_string(world.log_file()).unwrap();
    let said = world.eventually("two tries", || Some(log()).filter(|log| log.contains("attempt=2")));
    let why = "was not told: the certificate of 127.0.0.1 is not trusted";
    assert!(said.contains(why) && said.contains("UnknownIssuer") && said.contains("SSL_CERT_FILE"), "{said}");
    assert!(told.lock().unwrap().is_empty());

    world.kill();
    let config = world.write_config();
    let trusting = [("SSL_CERT_FILE", tls.authority.as_path())];
    world.daemon = Some(Daemon::with_variables(&config, &world.log_file(), &trusting));
    world.eventually("both letters", || (told.lock().unwrap().len() >= 2).then_some(()));
    let told = told.lock().unwrap();
    let kinds: Vec<&Value> = told.iter().map(|letter| &letter["type"]).collect();
    assert_eq!((kinds[0], kinds[1]), (&"begun".into(), &"ended".into()), "{told:#?}");
    assert_eq!(told[1]["run"]["revision"], first);
}
