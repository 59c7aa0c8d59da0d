//! What libgit2 keeps for the whole process: the limits that keep a silent server from holding the agent (by itself it
//! waits for ever), and whose certificates count.

use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error("the limits for talking to the remote cannot be set")]
    Time(#[source] git2::Error),
    #[error("`ca_file` under [source], {}, cannot be used", file.display())]
    Authorities { file: PathBuf, source: git2::Error },
}

/// Sets the longest wait for a connection and for any one answer, for every transport of this process; and a PEM file
/// with authorities to trust beside the system's.
///
/// Call it once, first thing in `main`, before any thread is started.
#[allow(unsafe_code)]
pub fn limit(connect: Duration, answer: Duration, authorities: Option<&Path>) -> Result<(), LimitError> {
    let millis = |limit: Duration| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: these write plain C globals without a lock. The caller promises that no other thread runs yet;
    // libgit2 offers no other way to bound a connection, and a poll that never ends would end all deploys.
    unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(millis(connect)).map_err(LimitError::Time)?;
        git2::opts::set_server_timeout_in_milliseconds(millis(answer)).map_err(LimitError::Time)?;
        authorities.map_or(Ok(()), |file| {
            let refused = |source| LimitError::Authorities { file: file.to_owned(), source };
            git2::opts::set_ssl_cert_file(file).map_err(refused)
        })
    }
}

/// Whether `authorities` holds any, as far as can be told without making them count.
pub fn readable(authorities: Option<&Path>) -> Result<(), LimitError> {
    let Some(file) = authorities else { return Ok(()) };
    let refused =
        |why: String| LimitError::Authorities { file: file.to_owned(), source: git2::Error::from_str(&why) };
    match std::fs::read_to_string(file) {
        Ok(text) if text.contains("-----BEGIN ") => Ok(()),
        Ok(_) => Err(refused("it holds no certificate".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}
