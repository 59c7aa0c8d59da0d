//! From configuration to what asks and tells others: GitHub's checks before a run.

use crate::clearance::{Checks, Clearance, ReadToken, Signers};
use crate::config::{Config, SecretFile};
use crate::http::{Client, ClientError, Secret};
use crate::model::forge::Forge;
use crate::report;

/// What a revision must pass, as configured.
pub(super) fn clearance(config: &Config) -> Result<Clearance, ClientError> {
    let gates = &config.gates;
    let signers = gates.signed_by.clone().map(|file| Signers::new(file, config.state.join("signatures")));
    let checks = match config.repository(Forge::GitHub).filter(|_| !gates.required_checks.is_empty()) {
        Some(repository) => Some(Checks {
            client: Client::new()?,
            api_url: config.github.api_url.clone(),
            repository,
            token: config.github.token_file.clone().map(read),
            required: gates.required_checks.clone(),
        }),
        None => None,
    };
    Ok(Clearance { skip: gates.skip.clone(), signers, freeze: gates.freeze(), checks })
}

fn read(file: SecretFile) -> ReadToken {
    Box::new(move || {
        let text = file.read().map_err(|error| report::line(&error))?;
        Secret::new(text).map_err(|error| error.to_string())
    })
}
