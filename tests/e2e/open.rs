//! What is open while its instance, or nginx itself, is replaced: it ends in its time, or is cut and counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use agent::model::run::Entry;

use crate::load::Load;
use crate::load::client::Kind;
use crate::lossless::{live, routed, sturdy};
use crate::stack::WEB;
use crate::world::World;

/// `web` also speaks whatever a client upgrades to.
fn upgrading(world: &World) -> String {
    world.repo.write(
        "web/upgrade",
        "#!/bin/sh\nasked=no\nwhile read -r line && [ ${#line} -gt 1 ]; do\n\
         case $line in [Uu]pgrade:*) asked=yes;; esac\ndone\n\
         if [ $asked = no ]; then\n\
         printf 'HTTP/1.1 426 X\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n'\nexit\nfi\n\
         printf 'HTTP/1.1 101 X\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n'\nexec cat\n",
    );
    let run = "RUN mv /www/web/upgrade /upgrade && chmod +x /upgrade\n\
               CMD [\"sh\", \"-c\", \"nc -ll -p 8001 -e /upgrade & exec httpd -f -p 8000 -h /www\"]\n";
    let dockerfile = crate::stack::dockerfile("web");
    let (built, _) = dockerfile.split_once("CMD").expect("a command");
    world.repo.write("web/Dockerfile", format!("{built}{run}"));
    routed(
        "agent.route.upgrade.path: /upgrade\n      agent.route.upgrade.port: \"8001\"\n      \
         agent.route.upgrade.websocket: \"true\"\n      agent.probe.port: \"8000\"",
    )
}

/// A connection that speaks its own protocol through nginx to `web`.
struct Upgraded(TcpStream);

impl Upgraded {
    fn open(world: &World) -> Self {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)).expect("nginx");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let head = "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        socket.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Self(socket)
    }

    fn echoes(&mut self) -> bool {
        let mut back = [0; 6];
        self.0.write_all(b"hello\n").is_ok() && self.0.read_exact(&mut back).is_ok() && &back == b"hello\n"
    }
}

fn cut(log: &[Entry]) -> Vec<usize> {
    let cut =
        |entry: &Entry| if let Entry::Cut { connections, .. } = entry { Some(*connections) } else { None };
    log.iter().filter_map(cut).collect()
}

#[test]
fn what_is_open_may_end_in_its_time_and_is_counted_when_it_is_cut() {
    let mut world = World::empty();
    let compose = upgrading(&world);
    live(&mut world, &compose);

    let mut open = Upgraded::open(&world);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("the new version", || (world.says(WEB) == "web 2").then_some(()));
    assert!(open.echoes(), "cut at the switch");
    drop(open);
    let run = world.live(&second);
    assert_eq!(cut(&world.log(&run)), [0; 0]);

    let mut open = Upgraded::open(&world);
    let third = world.push_version("web", 3);
    world.deliver(&third);
    let run = world.live(&third);
    assert!(!open.echoes(), "still open behind its instance's end");
    assert_eq!(cut(&world.log(&run)), [1]);
    let shown = world.agent(&["show", &run.id.0.to_string()]);
    assert!(shown.contains("1 connection was still open and is cut"), "{shown}");
}

/// How many bytes come of a body of which a thousand come in a second.
fn slowly(port: u16) -> usize {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("nginx");
    stream.write_all(b"GET /take/slow HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = Vec::new();
    // One that is cut may end in an error.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split_once("\r\n\r\n").expect("an answer").1.len()
}

#[test]
fn a_response_of_twenty_seconds_ends_in_its_time_and_is_cut_past_it() {
    let mut world = World::empty();
    world.settings += "[roll]\nhealth_timeout = \"10s\"\nsettle = \"300ms\"\ndrain = \"25s\"\n";
    let compose = sturdy(&world);
    let slow = "location = /take/slow { limit_rate 1k; try_files /web/slow.txt =404; }\n  location /take";
    let nginx = std::fs::read_to_string(world.repo.tree().join("web/nginx.conf")).expect("a configuration");
    world.repo.write("web/nginx.conf", nginx.replace("location /take", slow));
    world.repo.write("web/slow.txt", "slow\n".repeat(4000));
    live(&mut world, &compose);
    let roll = |world: &World, version| {
        let port = world.port;
        let asked = std::thread::spawn(move || slowly(port));
        std::thread::sleep(Duration::from_millis(500));
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        world.comes_to(&revision, |entry| matches!(entry, Entry::Draining { .. }));
        world.eventually("its rest", || world.agent(&["status"]).contains("running, old").then_some(()));
        world.transcript(&format!("draining-{version}"));
        let run = world.within(Duration::from_secs(60), "the end of the run", || {
            world.runs().into_iter().find(|run| run.revision == revision).filter(|run| run.outcome.is_some())
        });
        (asked.join().expect("asked"), cut(&world.log(&run)))
    };
    let (whole, cut) = roll(&world, 2);
    assert_eq!((whole, cut), (20_000, vec![]));
    world.kill();
    world.settings = world.settings.replace("25s", "3s");
    world.start();
    let (part, cut) = roll(&world, 3);
    assert!(part < 20_000, "nobody waits for so long");
    assert_eq!(cut, [1]);
    world.transcript("cut");
}

#[test]
fn a_new_nginx_is_there_at_once_whoever_is_still_connected_to_the_old_one() {
    let mut world = World::empty();
    let compose =
        upgrading(&world).replace("stop_grace_period: 2s\n    ports", "stop_grace_period: 60s\n    ports");
    live(&mut world, &compose);
    let plan = |world: &World| world.agent(&["plan"]);
    let _open = Upgraded::open(&world);
    let load = Load::start(world.port, WEB, Kind::New, 30);
    world.repo.write(
        "compose.yaml",
        compose.replace("image: nginx:1.30", "image: nginx:1.30\n    environment: {A: b}"),
    );
    let second = world.repo.push("a new nginx");
    world.deliver(&second);
    let run = world.live(&second);
    let (_, seen) = load.stop();
    let gaps: Vec<u64> = world
        .log(&run)
        .iter()
        .filter_map(|entry| match entry {
            Entry::Gap { service, millis, .. } if service == "nginx" => Some(*millis),
            _ => None,
        })
        .collect();
    assert!(cut(&world.log(&run)).iter().sum::<usize>() > 0, "what was open to it is not counted");
    // One second for what is open, not the sixty of its grace.
    assert!(matches!(gaps[..], [millis] if millis < 30_000), "{gaps:?}");
    assert!(seen.gap < 30_000.0 && seen.versions.len() == 1, "{seen:?}");
    world.repo.write("compose.yaml", compose);
    world.repo.push("and back");
    let plan = plan(&world);
    assert!(plan.contains("nginx") && plan.contains("stop-first"), "{plan}");
}
