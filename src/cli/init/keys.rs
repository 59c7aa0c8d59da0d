//! A deploy key, and the keys that the host shows, by the programs everybody has for it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::answers::{host_of, port_of};
use crate::cli::error::CliError;

/// Makes a key pair, the public half beside it as `.pub`; one that is there is kept.
pub(super) fn deploy_key(path: &Path, comment: &str) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    said_by(&mut command).map(drop)
}

/// The fingerprints a host shows right now, `SHA256:…` each. Whoever answers in its place shows others: they must be
/// compared with what the host publishes.
pub(super) fn shown_by(url: &str) -> Result<Vec<String>, CliError> {
    let host = host_of(url).unwrap_or_default();
    let port = port_of(url).unwrap_or(22).to_string();
    let scanned = said_by(Command::new("ssh-keyscan").args(["-T", "10", "-p", &port, "--", host]))?;
    let keys: Vec<&str> = scanned.lines().filter(|line| !line.starts_with('#')).collect();
    let mut found = Vec::new();
    if !keys.is_empty() {
        // By the standard input: a file of a known name in a folder of everybody's could be somebody's link.
        let said = fed(Command::new("ssh-keygen").args(["-lf", "-"]), &(keys.join("\n") + "\n"))?;
        let words = said.split_whitespace().filter(|word| word.starts_with("SHA256:"));
        found.extend(words.map(str::to_owned));
    }
    if found.is_empty() {
        return Err(CliError::Usage {
            message: format!("{host} shows no host key at port {port}"),
            hint: Some(
                "check the address, or give the published fingerprints with --host-key SHA256:…".into(),
            ),
        });
    }
    Ok(found)
}

fn said_by(command: &mut Command) -> Result<String, CliError> {
    fed(command, "")
}

/// What a program says when it reads this, of a few lines.
fn fed(command: &mut Command, input: &str) -> Result<String, CliError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |message: String| CliError::Usage { message, hint: None };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends without reading says why itself.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    });
    let output = output.map_err(|error| CliError::Usage {
        message: format!("{program} cannot be run: {error}"),
        hint: Some("install it: apt-get install openssh-client".into()),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
