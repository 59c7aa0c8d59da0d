//! `agent init`: from a few answers to a configuration that works, the secrets beside it, and what is left to do at
//! the forge. Overwrites nothing; a second run with the same answers goes on where the first one stopped.

mod answers;
mod files;
mod keys;
mod steps;

use std::path::{Path, PathBuf};

use super::args::Init;
use super::error::CliError;
use super::out::Out;

/// Where a configuration goes when nobody says otherwise.
const PLACE: &str = "/etc/agent/agent.toml";

/// Writes what is missing and returns the configuration's path.
pub(super) fn init(at: Option<&Path>, given: &Init, out: &Out) -> Result<PathBuf, CliError> {
    let path = std::path::absolute(at.unwrap_or(Path::new(PLACE)))?;
    if path.exists() {
        return Err(CliError::Usage {
            message: format!("{} is there already, and is left as it is", path.display()),
            hint: Some(
                "edit it, or name another with --config; agent check says what is wrong with it".into(),
            ),
        });
    }
    let answers = answers::answers(given)?;
    let made = files::write(&path, &answers)?;
    out.text(&steps::text(&path, &answers, &made))?;
    Ok(path)
}
