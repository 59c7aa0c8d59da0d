//! The shipped unit file, judged by systemd itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

const SHIPPED: &str = include_str!("../systemd/agent.service");
const EXEC: &str = "ExecStart=/usr/local/bin/agent ";

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
        |unit: &str| analyze(unit, &["security", "--offline=true", "--no-pager", "--threshold=25"]);
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
