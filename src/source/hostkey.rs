//! Is this the SSH server we were told to trust? Answered by fingerprint alone: no known_hosts file, no
//! trust on first use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use git2::cert::CertHostkey;
use sha2::{Digest, Sha256};

use super::error::SourceError;

/// Compares the key the server shows with the pinned fingerprints.
pub(super) fn check(shown: &CertHostkey<'_>, host: &str, pinned: &[String]) -> Result<(), SourceError> {
    let digest = match (shown.hash_sha256(), shown.hostkey()) {
        (Some(hash), _) => Some(*hash),
        (None, Some(key)) => Some(Sha256::digest(key).into()),
        (None, None) => None,
    };
    // A key that cannot be named cannot be pinned either: it ends as "unknown".
    let got = digest.map_or_else(|| "(no fingerprint)".to_owned(), |digest| fingerprint(&digest));
    if pinned.iter().any(|pin| pin.trim().trim_end_matches('=') == got) {
        return Ok(());
    }
    let (host, algorithm) =
        (host.to_owned(), shown.hostkey_type().map_or("unknown", |kind| kind.name()).to_owned());
    Err(if pinned.is_empty() {
        SourceError::HostKeyUnknown { host, algorithm, got }
    } else {
        SourceError::HostKeyChanged { host, algorithm, got, pinned: pinned.to_vec() }
    })
}

/// As OpenSSH prints it.
fn fingerprint(digest: &[u8; 32]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}
