//! Standard Webhooks (standardwebhooks.com, specification 1.0.0), its symmetric signatures: what some forges send,
//! and what we send ourselves.
//!
//! `webhook-signature` is a list of `v1,BASE64`, each an HMAC-SHA256 over `ID.TIMESTAMP.BODY`; the key is what the
//! text `whsec_BASE64` holds, decoded. The time is signed, so an old webhook cannot be sent again for ever.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Secret, mac};

pub const ID: &str = "webhook-id";
pub const TIMESTAMP: &str = "webhook-timestamp";
pub const SIGNATURE: &str = "webhook-signature";
/// How keys begin when written as text.
pub const PREFIX: &str = "whsec_";

/// How far the sender's clock may be off, either way, in seconds.
const TOLERANCE: u64 = 300;
/// Signatures looked at in one header: a sender has one for each key in use, and only a forger has many.
const MOST: usize = 16;

/// A signing key. Never empty.
#[derive(Clone)]
pub struct Key(Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a signing secret: it is written `whsec_` and base64, as its maker shows it")]
pub struct NotAKey;

/// Why a webhook does not count as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("malformed signature")]
    Malformed,
    #[error("wrong signature")]
    Wrong,
    /// Further from now than five minutes.
    #[error("signed too long ago, or by a clock that is ahead")]
    Stale,
}

impl Key {
    pub fn parse(secret: &Secret) -> Result<Self, NotAKey> {
        let text = secret.expose().strip_prefix(PREFIX).ok_or(NotAKey)?;
        let bytes = STANDARD.decode(text).map_err(|_| NotAKey)?;
        if bytes.is_empty() { Err(NotAKey) } else { Ok(Self(bytes)) }
    }
}

/// The value of `webhook-signature`. `at` is Unix seconds.
pub fn sign(key: &Key, id: &str, at: i64, body: &[u8]) -> String {
    let at = at.to_string();
    let signature = mac::sign_with(&key.0, &[id.as_bytes(), b".", at.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(signature))
}

/// The place in `keys` of the one that signed. `at` and `signatures` are the headers as they came, `now` is Unix
/// seconds. Every key is tried on every signature, so that the time taken tells nothing.
pub fn signer(
    keys: &[Key],
    id: &str,
    at: &str,
    signatures: &str,
    body: &[u8],
    now: i64,
) -> Result<usize, Fault> {
    let signed_at: i64 = at.parse().map_err(|_| Fault::Malformed)?;
    // Signatures of other versions stand beside ours while a sender changes over.
    let ours = signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1,")).take(MOST);
    let decoded: Vec<[u8; mac::LENGTH]> =
        ours.filter_map(|text| STANDARD.decode(text).ok()?.try_into().ok()).collect();
    if decoded.is_empty() {
        return Err(Fault::Malformed);
    }
    let parts = [id.as_bytes(), b".", at.as_bytes(), b".", body];
    let found = keys.iter().enumerate().fold(None, |found, (place, key)| {
        let any = decoded.iter().fold(false, |any, one| mac::matches(&key.0, &parts, one) | any);
        found.or(any.then_some(place))
    });
    match found {
        None => Err(Fault::Wrong),
        Some(_) if now.abs_diff(signed_at) > TOLERANCE => Err(Fault::Stale),
        Some(place) => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const NOW: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key(text: &str) -> Key {
        Key::parse(&Secret::new(text).unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_published_example_is_made_and_recognised() {
        let keys = [key("whsec_b3RoZXI="), key(SECRET)];
        assert_eq!(sign(&keys[1], ID, NOW, BODY), SIGNATURE);
        for signatures in [
            SIGNATURE,
            &format!("v1a,xyz v1,{} {SIGNATURE}", STANDARD.encode([0; 32])),
            &format!("{SIGNATURE} v2,x"),
        ] {
            assert_eq!(signer(&keys, ID, AT, signatures, BODY, NOW), Ok(1), "{signatures}");
        }
    }

    #[test]
    fn id_time_and_body_are_all_signed() {
        let keys = [key(SECRET)];
        assert_eq!(signer(&keys, "msg_other", AT, SIGNATURE, BODY, NOW), Err(Fault::Wrong));
        assert_eq!(signer(&keys, ID, "1614265331", SIGNATURE, BODY, NOW), Err(Fault::Wrong));
        assert_eq!(signer(&keys, ID, AT, SIGNATURE, b"{}", NOW), Err(Fault::Wrong));
        assert_eq!(signer(&[], ID, AT, SIGNATURE, BODY, NOW), Err(Fault::Wrong));
    }

    #[test]
    fn what_was_signed_long_ago_or_ahead_of_time_is_stale() {
        let keys = [key(SECRET)];
        for (now, fine) in [(NOW + 300, true), (NOW - 300, true), (NOW + 301, false), (NOW - 301, false)] {
            let expected = if fine { Ok(0) } else { Err(Fault::Stale) };
            assert_eq!(signer(&keys, ID, AT, SIGNATURE, BODY, now), expected);
        }
        let ends = i64::MAX.to_string();
        let signature = sign(&keys[0], ID, i64::MAX, BODY);
        assert_eq!(signer(&keys, ID, &ends, &signature, BODY, -1), Err(Fault::Stale));
    }

    #[test]
    fn malformed_headers_are_told_from_wrong_ones() {
        let keys = [key(SECRET)];
        for signatures in
            ["", "v1", "v1,", "v1,abc", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,AAAA"]
        {
            assert_eq!(signer(&keys, ID, AT, signatures, BODY, NOW), Err(Fault::Malformed), "{signatures}");
        }
        for at in ["", "soon", "1614265330.5", "99999999999999999999"] {
            assert_eq!(signer(&keys, ID, at, SIGNATURE, BODY, NOW), Err(Fault::Malformed), "{at}");
        }
    }

    #[test]
    fn a_key_is_whsec_and_base64() {
        for bad in ["whsec_", "whsec_???", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec"] {
            assert!(Key::parse(&Secret::new(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
