//! Has a real nginx read a configuration. In a network namespace of its own, because `nginx -t` opens the ports.

use std::process::Command;

/// What `nginx -t` says, and whether it accepts.
pub(crate) fn test(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    // The one thing that is changed: a pid file in the tests' own folder.
    let pid = format!("pid {}/nginx.pid;", folder.path().display());
    std::fs::write(&file, text.replace("pid /tmp/nginx.pid;", &pid)).unwrap();
    let nginx = ["--net", "nginx", "-q", "-t", "-c"];
    let output = Command::new("unshare").args(nginx).arg(&file).output().expect("unshare, of util-linux");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Fails unless nginx accepts the text without a word.
#[track_caller]
pub(crate) fn accepts(text: &str) {
    let (accepted, said) = test(text);
    assert!(accepted && said.is_empty(), "nginx says: {said}\n{text}");
}
