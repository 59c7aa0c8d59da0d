//! The shipped unit file, judged by systemd itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

const SHIPPED: &str = include_str!("../systemd/agent.service");
const EXEC: &str = "ExecStart=/usr/bin/agent ";

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
    assert!(SHIPPED.contains(EXEC));
    SHIPPED.replace(EXEC, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_agent")))
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
