//! What libgit2 keeps for the whole process: the limits that keep a silent server from holding the agent (by itself it
//! waits for ever), and whose certificates count.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    // Keys and lists of what is revoked may lie in it too.
    let parts = text.split("-----BEGIN ").skip(1).map(|part| part.split_once("-----").unwrap_or((part, "")));
    let mut certificates = parts.filter(|(label, _)| label.ends_with("CERTIFICATE")).peekable();
    if certificates.peek().is_none() {
        return Err(refused("it holds no certificate".to_owned()));
    }
    match certificates.all(|(label, rest)| is_whole(label, rest)) {
        true => Ok(()),
        false => Err(refused("a certificate in it is damaged".to_owned())),
    }
}

/// Whether this is a whole certificate and its end: base64 of a DER sequence (RFC 7468, X.690).
fn is_whole(label: &str, rest: &str) -> bool {
    let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else { return false };
    let body: String = body.split_whitespace().collect();
    let length = match STANDARD.decode(body).as_deref() {
        Ok([0x30, 0x81, length, rest @ ..]) => Some((usize::from(*length), rest.len())),
        Ok([0x30, 0x82, high, low, rest @ ..]) => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest.len()))
        }
        _ => None,
    };
    length.is_some_and(|(told, there)| there >= told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_certificates_are_authorities() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let reads = |text: &str| {
            std::fs::write(&file, text).unwrap();
            readable(Some(&file)).is_ok()
        };
        let der = [&[0x30, 0x82, 0x01, 0x00][..], &[0; 256]].concat();
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let whole = pem("CERTIFICATE", &der);
        assert!(reads(&format!("an authority\n{whole}{}{whole}", pem("PRIVATE KEY", &[0]))));
        for bad in [
            String::new(),
            "-----BEGIN ".to_owned(),
            pem("PRIVATE KEY", &der),
            pem("CERTIFICATE", &der[..100]),
            whole.replace('A', "*"),
            whole[..whole.len() - 20].to_owned(),
            format!("{whole}-----BEGIN CERTIFICATE-----\n"),
        ] {
            assert!(!reads(&bad), "{bad}");
        }
        assert!(readable(Some(&folder.path().join("none"))).is_err() && readable(None).is_ok());
    }
}
