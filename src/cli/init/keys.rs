//! A deploy key, and the keys that the host shows, by the programs everybody has for it.

use std::path::Path;
use std::process::Command;

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
    let mut found = Vec::new();
    for line in scanned.lines().filter(|line| !line.starts_with('#')) {
        let folder = std::env::temp_dir().join(format!("agent-init-{}", std::process::id()));
        std::fs::write(&folder, format!("{line}\n"))?;
        let said = said_by(Command::new("ssh-keygen").arg("-lf").arg(&folder));
        std::fs::remove_file(&folder)?;
        found.extend(said?.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned));
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
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |message: String| CliError::Usage { message, hint: None };
    let output = command.output().map_err(|error| CliError::Usage {
        message: format!("{program} cannot be run: {error}"),
        hint: Some("install it: apt-get install openssh-client".into()),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
