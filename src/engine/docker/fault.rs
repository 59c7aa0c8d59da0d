//! What the client's errors mean at the seam. The engine's own words are kept: they are better than ours.

use bollard::errors::Error;

use super::Docker;
use crate::engine::EngineError;

/// Words by which the engine (with status 500, as if it had broken) says that what it was asked cannot be.
const REFUSALS: [&str; 7] = [
    "port is already allocated",
    "address already in use",
    "executable file not found",
    "OCI runtime create failed",
    "non-overlapping IPv4 address pool",
    "address pools have been fully subnetted",
    "is not running",
];

impl Docker {
    pub(super) fn fault(&self, act: impl Into<String>, error: Error) -> EngineError {
        let act = act.into();
        if unreachable(&error) {
            return away(&self.at, &error);
        }
        match error {
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message }
                if full(&message) =>
            {
                EngineError::DiskFull { message }
            }
            Error::DockerResponseServerError { status_code, message }
                if status_code < 500 || REFUSALS.iter().any(|words| message.contains(words)) =>
            {
                EngineError::Refused { act, message }
            }
            Error::RequestTimeoutError => {
                EngineError::TimedOut { act, seconds: self.client.timeout().as_secs() }
            }
            other => EngineError::Other { act, source: other.into() },
        }
    }
}

/// Nobody listens. Of the client's layers only the innermost says why.
pub(super) fn away(at: &str, error: &Error) -> EngineError {
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    let why = match error {
        Error::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        _ => why.to_string(),
    };
    EngineError::Unreachable { at: at.to_owned(), source: why.into() }
}

/// Makes "it is not there" a value.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn full(message: &str) -> bool {
    message.contains("no space left on device")
}

pub(super) fn unreachable(error: &Error) -> bool {
    match error {
        Error::SocketNotFoundError(_) => true,
        Error::HyperLegacyError { err } => err.is_connect(),
        Error::IOError { err } => {
            matches!(err.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
        }
        _ => false,
    }
}
