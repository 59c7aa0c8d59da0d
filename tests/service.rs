//! The shipped unit file, judged by systemd itself; and what it relies on: a restart and a reload that refuse nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

const SHIPPED: &str = include_str!("../systemd/agent.service");
const PROGRAM: &str = "=/usr/bin/agent ";

/// Writes the unit under its own name, as systemd judges it together with that, and runs `systemd-analyze`.
fn analyze(unit: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.service");
    std::fs::write(&path, unit).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(&path).output().expect("systemd-analyze runs (package systemd)")
}

/// The unit with a program that exists, since `verify` looks for it.
fn installed() -> String {
    assert!(SHIPPED.contains(PROGRAM));
    SHIPPED.replace(PROGRAM, &format!("={} ", env!("CARGO_BIN_EXE_agent")))
}

#[test]
fn systemd_accepts_the_unit_without_a_word() {
    let verify = |unit: &str| analyze(unit, &["verify", "--man=no", "--recursive-errors=no"]);
    let output = verify(&installed());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    // systemd only warns of a key it does not know, so silence is what counts; this shows that it does warn.
    let broken = verify(&installed().replace("ProtectClock=", "ProtectClok="));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("ProtectClok"));
}

#[test]
fn the_unit_stays_hardened() {
    let security =
        |unit: &str| analyze(unit, &["security", "--offline=true", "--no-pager", "--threshold=20"]);
    let output = security(&installed());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let open = installed().replace("NoNewPrivileges=true", "").replace("CapabilityBoundingSet=", "#");
    assert!(!security(&open).status.success(), "an open unit passes too: the threshold says nothing");
}

#[test]
fn every_opening_says_why() {
    for key in ["ProtectHome=read-only", "CapabilityBoundingSet=", "RestrictAddressFamilies="] {
        let before = &SHIPPED[..SHIPPED.find(key).expect(key)];
        let comment = before.rsplit("\n\n").next().unwrap();
        assert!(comment.contains("# Opening: "), "{key} is open without a reason");
    }
}

/// Ends the agent it belongs to, whatever becomes of the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first socket that is given to be kept under this name, as systemd would receive it.
fn given(notify: &UnixDatagram, name: &str) -> OwnedFd {
    loop {
        let (mut text, mut space) = ([0; 512], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let length = recvmsg(notify, &mut parts, &mut beside, RecvFlags::empty()).expect("a message").bytes;
        let fd = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let said = String::from_utf8_lossy(&text[..length]).into_owned();
        if said.lines().any(|line| line == "FDSTORE=1") && said.contains(&format!("FDNAME={name}\n")) {
            return fd.expect("a descriptor");
        }
    }
}

/// A daemon with an engine and a folder of its own, which systemd would have started.
struct Served {
    // Ended before its folder is removed: it would write there still.
    agent: Agent,
    notify: UnixDatagram,
    folder: tempfile::TempDir,
}

/// An address that nobody listens on.
fn spare() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Served {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "a webhook's secret").unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        configure(folder.path(), settings);
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(["run", "--config"]).arg(folder.path().join("agent.toml"));
        command
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG");
        let log = File::create(folder.path().join("log")).unwrap();
        let known = log.metadata().unwrap();
        // Its output is the journal, as far as it can tell.
        command.env("JOURNAL_STREAM", format!("{}:{}", known.dev(), known.ino())).stdout(log);
        command.env("WATCHDOG_USEC", "400000");
        let served = Self { folder, notify, agent: Agent(command.spawn().unwrap()) };
        served.told("READY=1");
        served
    }

    /// Until this is told to the service manager; all that was told on the way.
    fn told(&self, what: &str) -> String {
        let (mut said, begun) = (String::new(), Instant::now());
        while !said.lines().any(|line| line == what) {
            // It goes on telling that it is alive.
            assert!(begun.elapsed() < Duration::from_secs(30), "{what} is not told; {}", self.log());
            let mut text = [0; 512];
            let length =
                self.notify.recv(&mut text).unwrap_or_else(|error| panic!("{what}: {error}; {}", self.log()));
            said.push_str(&String::from_utf8_lossy(&text[..length]));
        }
        said
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn logged(&self, what: &str) {
        let there = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            self.pass_over();
            self.log().contains(what)
        });
        assert!(there, "`{what}` is not in the log: {}", self.log());
    }

    /// What nobody hears would in the end hold up whoever tells it.
    fn pass_over(&self) {
        self.notify.set_nonblocking(true).unwrap();
        while self.notify.recv(&mut [0; 512]).is_ok() {}
        self.notify.set_nonblocking(false).unwrap();
    }

    fn signal(&self, name: &str) {
        let killed = Command::new("kill").args([name, &self.agent.0.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    fn hang_up_with(&self, settings: &str) {
        configure(self.folder.path(), settings);
        self.signal("-HUP");
    }

    fn command(&self, name: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.arg(name).arg("--config").arg(self.folder.path().join("agent.toml"));
        command.env("NO_COLOR", "1").output().unwrap()
    }
}

fn configure(folder: &Path, settings: &str) {
    let text = format!(
        "state = \"state\"\n[stack]\nname = \"agenttest-reload\"\n[source]\nurl = \"https://127.0.0.1:9/shop.git\"\n{settings}"
    );
    std::fs::write(folder.join("agent.toml"), text).unwrap();
}

/// The first line of the answer.
fn ask(at: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

const FORBIDDEN: &str = "HTTP/1.1 405 Method Not Allowed";
const UNKNOWN: &str = "HTTP/1.1 404 Not Found";

fn hooks(at: SocketAddr, forges: &[&str]) -> String {
    let mut text = format!("[webhook]\nlisten = \"{at}\"\n");
    for forge in forges {
        text.push_str(&format!(
            "[webhook.{forge}]\nsecret_files = [\"secret\"]\nrepository = \"acme/shop\"\n"
        ));
    }
    text
}

/// Asks over and over, by a new connection each time, until it is dropped; and counts.
struct Asking {
    end: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Asking {
    fn begin(at: SocketAddr) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let (mut asked, mut failed) = (0, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                asked += 1;
                match ask(at, "/webhooks/github") {
                    Ok(answer) if answer.starts_with("HTTP/1.1 ") => {}
                    other => failed.push(format!("{other:?}")),
                }
            }
            (asked, failed)
        });
        Self { end, thread }
    }

    fn end(self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_changed_configuration_is_taken_up_at_a_signal_and_nobody_is_refused() {
    assert!(SHIPPED.contains("\nExecReload=/usr/bin/agent reload\n"));
    let (at, numbers) = (spare(), spare());
    let served = Served::start(&hooks(at, &["github"]));
    assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), UNKNOWN);
    assert!(ask(numbers, "/healthz").is_err());

    let asking = Asking::begin(at);
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        let changed = format!("{}[metrics]\nlisten = \"{numbers}\"\n", hooks(at, &["github", "gitlab"]));
        served.hang_up_with(&changed);
        let said = served.told("RELOADING=1");
        let said = said + &served.told("READY=1");
        assert!(said.contains("MONOTONIC_USEC=") && !said.contains("STOPPING=1"), "{round}: {said}");
    }
    served.told("WATCHDOG=1");
    let (asked, failed) = asking.end();
    assert!(failed.is_empty() && asked > 100, "{asked} asked, {} failed: {:?}", failed.len(), failed.first());
    assert_eq!(ask(numbers, "/healthz").unwrap(), "HTTP/1.1 200 OK");
    let status = served.command("status");
    let own = format!("(pid {})", served.agent.0.id());
    assert!(String::from_utf8_lossy(&status.stdout).contains(&own), "another process: {status:?}");

    // The same port at another address, and one that nobody listens on any more.
    let everywhere = SocketAddr::from(([0, 0, 0, 0], at.port()));
    served.hang_up_with(&hooks(everywhere, &["github"]));
    served.told("READY=1");
    assert_eq!(ask(at, "/webhooks/github").unwrap(), FORBIDDEN);
    assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), UNKNOWN);
    assert!(ask(numbers, "/healthz").is_err(), "it is still listened on");
}

#[test]
fn a_configuration_that_is_wrong_is_not_taken_up() {
    let at = spare();
    let good = hooks(at, &["github"]);
    let served = Served::start(&good);
    let goes_on = || {
        assert_eq!(ask(at, "/webhooks/github").unwrap(), FORBIDDEN);
        assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), UNKNOWN);
    };
    let worse = hooks(at, &["gitlab"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    for (settings, complaint) in [
        (format!("{worse}[rol]\nwatch = \"1m\"\n"), "agent.toml:11:2: rol: there is no such key".to_owned()),
        (worse.replace("\"secret\"", "\"none\""), "none cannot be read".to_owned()),
        (format!("{worse}[metrics]\nlisten = \"{taken_at}\"\n"), format!("cannot listen on {taken_at}")),
        (
            format!("{worse}[metrics]\nlisten = \"{at}\"\n"),
            format!("the address of webhook.listen already, {at}"),
        ),
        // At a port of its own, and at none that this machine has.
        (worse.replace("127.0.0.1", "192.0.2.1"), format!("cannot listen on 192.0.2.1:{}", at.port())),
        (
            worse.replacen('\n', "\npublish = \"/in/\"\n", 1) + "[nginx]\nfolder = \"secret/nginx\"\n",
            "secret is not a folder".to_owned(),
        ),
        (format!("{worse}[dashboard]\nlisten = \"{}\"\ntoken_file = \"secret\"\n", spare()), String::new()),
    ] {
        if complaint.is_empty() {
            std::fs::write(served.folder.path().join("secret"), "short").unwrap();
        }
        served.hang_up_with(&settings);
        let complaint = if complaint.is_empty() { "fewer than 16 characters".to_owned() } else { complaint };
        served.logged(&complaint);
        goes_on();
        let typed = served.command("reload");
        assert_eq!(typed.status.code(), Some(2), "{typed:?}");
        let said = String::from_utf8_lossy(&typed.stderr).into_owned();
        let complaint = complaint.rsplit(": ").next().unwrap();
        assert!(said.contains(complaint), "{complaint}: {said}");
        goes_on();
    }
    served.logged("<3>ERROR not reloaded: the configuration in force stays\n");
    served.logged("\n<6> INFO ready");

    std::fs::write(served.folder.path().join("secret"), "a webhook's secret").unwrap();
    configure(served.folder.path(), &hooks(at, &["github", "gitlab"]));
    let typed = served.command("reload");
    assert!(typed.status.success(), "{typed:?}");
    served.told("READY=1");
    assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), FORBIDDEN);

    let mut served = served;
    served.signal("-TERM");
    assert!(served.agent.0.wait().unwrap().success(), "{}", served.log());
}

#[test]
fn what_was_checked_is_taken_up_whatever_the_file_says_by_then() {
    let at = spare();
    let served = Served::start(&hooks(at, &["github"]));
    // A request that is under way keeps the next process from beginning.
    let mut slow = TcpStream::connect(at).unwrap();
    slow.write_all(b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n1").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    served.hang_up_with(&hooks(at, &["github", "gitlab"]));
    served.told("RELOADING=1");
    served.hang_up_with("[rol]\n");
    served.logged("rol: there is no such key");
    served.logged("not reloaded");
    // A good one takes the place of the first.
    let reloads = || served.log().matches("reloading ").count();
    assert_eq!(reloads(), 1);
    let numbers = spare();
    served.hang_up_with(&format!("{}[metrics]\nlisten = \"{numbers}\"\n", hooks(at, &["gitea"])));
    assert!((0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        reloads() == 2
    }));
    configure(served.folder.path(), "[webhook]\nlis");
    drop(slow);
    served.told("READY=1");
    assert_eq!(ask(at, "/webhooks/gitea").unwrap(), FORBIDDEN);
    assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), UNKNOWN);
    assert_eq!(ask(numbers, "/healthz").unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn a_configuration_is_taken_up_also_while_the_engine_is_away() {
    let (at, numbers) = (spare(), spare());
    let served = Served::start(&format!("{}[metrics]\nlisten = \"{numbers}\"\n", hooks(at, &["github"])));
    let right = |forge: &str| format!("{}[metrics]\nlisten = \"{numbers}\"\n", hooks(at, &[forge]));
    served.hang_up_with(&format!("{}[engine]\nsocket = \"/nobody.sock\"\n", right("github")));
    served.logged("/nobody.sock");
    // What nobody serves yet is handed on too, and once more.
    configure(served.folder.path(), &format!("{}[engine]\nsocket = \"/no.sock\"\n", right("gitlab")));
    let typed = served.command("reload");
    assert!(typed.status.success(), "{typed:?}");
    served.logged("/no.sock");
    assert_eq!(ask(at, "/webhooks/gitlab").unwrap(), FORBIDDEN);
    configure(served.folder.path(), &right("gitea"));
    let typed = served.command("reload");
    assert!(typed.status.success(), "{typed:?}");
    served.told("READY=1");
    assert_eq!(ask(at, "/webhooks/gitea").unwrap(), FORBIDDEN);
    assert_eq!(ask(numbers, "/healthz").unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn without_a_webhook_the_port_of_the_webhooks_is_nobodys() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, numbers) = (other.local_addr().unwrap(), spare());
    let closed = hooks(taken, &[]);
    let served = Served::start(&closed);
    let numbers_at = |at: SocketAddr| {
        served.hang_up_with(&format!("{closed}[metrics]\nlisten = \"{at}\"\n"));
        served.told("READY=1");
        assert_eq!(ask(at, "/healthz").unwrap(), "HTTP/1.1 200 OK");
    };
    numbers_at(numbers);
    drop(other);
    numbers_at(taken);
}

#[test]
fn who_knocks_during_a_restart_is_answered_by_the_next_process() {
    assert!(SHIPPED.contains("\nFileDescriptorStoreMax="), "systemd would keep nothing");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(at("secret"), "a webhook's secret").unwrap();
    let text = format!(
        "state = \"state\"\n[stack]\nname = \"agenttest-kept\"\n[source]\nurl = \"https://127.0.0.1:9/shop.git\"\n\
         [engine]\nsocket = \"{}\"\n[webhook]\nlisten = \"{address}\"\n\
         [webhook.github]\nsecret_files = [\"secret\"]\nrepository = \"acme/shop\"\n",
        at("no-engine.sock").display()
    );
    std::fs::write(at("agent.toml"), text).unwrap();
    let notify = UnixDatagram::bind(at("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(["run", "--config"]).arg(at("agent.toml")).env("NOTIFY_SOCKET", at("notify"));
    let first = Agent(command.spawn().unwrap());
    let kept = given(&notify, "webhooks");
    drop(first);

    let mut knocking = TcpStream::connect(address).expect("nobody is refused while no agent runs");
    knocking.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    knocking.write_all(b"GET /webhooks/github HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();

    // As systemd starts it: the kept descriptors from 3 on, and told to whom they belong.
    let start = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=webhooks exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", start, env!("CARGO_BIN_EXE_agent")]).arg(at("agent.toml")).stdin(kept);
    let _second = Agent(command.spawn().unwrap());
    let mut answer = String::new();
    knocking.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
