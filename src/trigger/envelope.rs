//! What the webhooks of all forges have in common: headers that must be there once, an HMAC in hexadecimal, JSON by
//! its content type. Which of these a forge uses, and over which bytes, it says itself.
//!
//! Nothing of a payload is read before its sender is known, except to undo a form's encoding.

use std::borrow::Cow;
use std::fmt::Display;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::http::{Secret, line, mac};

/// Why a webhook is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("not signed: set a secret on the webhook, the same as in the agent's configuration")]
    Unsigned,
    /// What was wrong with the signature, for the log alone.
    #[error("the signature does not fit: compare the webhook's secret with the agent's")]
    Forged(&'static str),
    #[error("signed more than five minutes ago, or ahead: compare the two clocks")]
    Stale,
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    #[error("{0}")]
    Malformed(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unsigned | Self::Forged(_) | Self::Stale => StatusCode::UNAUTHORIZED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        line(status, self)
    }
}

/// The one value of a header that proves something; `None` if it is absent. Of two, the receiver and a proxy on the
/// way might each believe another one.
pub(super) fn proof<'h>(headers: &'h HeaderMap, header: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(header).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Forged("more than one signature"));
    }
    first.to_str().map(Some).map_err(|_| Refusal::Forged("malformed signature"))
}

/// Holds `signed` against a header of `prefix` and the hexadecimal HMAC-SHA256.
pub(super) fn verify_hex(
    headers: &HeaderMap,
    header: &str,
    prefix: &str,
    signed: &[u8],
    secrets: &[Secret],
) -> Result<(), Refusal> {
    let value = proof(headers, header)?.ok_or(Refusal::Unsigned)?;
    let signature = value.strip_prefix(prefix).and_then(mac::from_hex);
    let signature = signature.ok_or(Refusal::Forged("malformed signature"))?;
    let signer = mac::signer(secrets, &[signed], &signature).ok_or(Refusal::Forged("wrong signature"))?;
    signed_by(signer);
    Ok(())
}

/// Tells whoever is changing secrets whether the old one can be taken away.
pub(super) fn signed_by(place: usize) {
    if place > 0 {
        tracing::info!(secret = place + 1, "a webhook is still signed with an older secret");
    }
}

/// The JSON in the body, by its content type.
pub(super) fn payload<'a>(headers: &HeaderMap, raw: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
    let written = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Cow::Borrowed(raw)),
        "application/x-www-form-urlencoded" => {
            let mut fields = form_urlencoded::parse(raw).filter(|(name, _)| name == "payload");
            match (fields.next(), fields.next()) {
                (Some((_, json)), None) => Ok(Cow::Owned(json.into_owned().into_bytes())),
                _ => Err(Refusal::Malformed("the form has not exactly one field `payload`".into())),
            }
        }
        _ => Err(Refusal::ContentType),
    }
}

/// The value of a header that must be there once and is a short plain text.
pub(super) fn name(headers: &HeaderMap, header: &'static str) -> Result<String, Refusal> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    let plain = |b: u8| b.is_ascii_graphic() || b == b' ';
    value
        .filter(|value| (1..=100).contains(&value.trim().len()) && value.bytes().all(plain))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::Malformed(format!("the header {header} is missing, repeated or malformed")))
}

/// Reads a JSON object.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Refusal> {
    let malformed = |what: &dyn Display| Refusal::Malformed(format!("the payload is malformed: {what}"));
    let text = str::from_utf8(json).map_err(|_| Refusal::Malformed("the payload is not UTF-8".into()))?;
    // serde would also take a list of the right values for a struct.
    if !text.trim_start().starts_with('{') {
        return Err(malformed(&"not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// Whether a commit id is the one that stands for "none": where a reference was deleted, or is new.
pub(super) fn is_none(commit: &str) -> bool {
    !commit.is_empty() && commit.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_proof_stands_there_once() {
        assert_eq!(proof(&headers(&[]), "x"), Ok(None));
        assert_eq!(proof(&headers(&[("x", "a")]), "x"), Ok(Some("a")));
        let twice = headers(&[("x", "a"), ("x", "a")]);
        assert_eq!(proof(&twice, "x"), Err(Refusal::Forged("more than one signature")));
        assert_eq!(proof(&headers(&[("x", "é")]), "x"), Err(Refusal::Forged("malformed signature")));
    }

    #[test]
    fn a_hexadecimal_signature_is_whole_lower_case_and_right() {
        let secrets = [Secret::new("new").unwrap(), Secret::new("s").unwrap()];
        let right = hex::encode(mac::sign(&secrets[1], &[b"body"]));
        let check = |value: &str| verify_hex(&headers(&[("x", value)]), "x", "sha256=", b"body", &secrets);
        assert_eq!(check(&format!("sha256={right}")), Ok(()));
        for bad in ["", "sha256=", "sha1=abc", &right, &format!("sha256={}", right.to_uppercase()), "é"] {
            assert_eq!(check(bad), Err(Refusal::Forged("malformed signature")), "{bad}");
        }
        assert_eq!(check(&format!("sha256={}", "0".repeat(64))), Err(Refusal::Forged("wrong signature")));
        assert_eq!(verify_hex(&headers(&[]), "x", "", b"body", &secrets), Err(Refusal::Unsigned));
    }

    #[test]
    fn a_name_is_short_and_plain() {
        let read = |value: &str| name(&headers(&[("x", value)]), "x");
        assert_eq!(read("Push Hook").as_deref(), Ok("Push Hook"));
        for bad in ["", " ", "é", &"x".repeat(101)] {
            assert!(matches!(read(bad), Err(Refusal::Malformed(_))), "{bad}");
        }
        assert!(name(&headers(&[("x", "a"), ("x", "b")]), "x").is_err());
        assert!(name(&headers(&[]), "x").is_err());
    }

    #[test]
    fn zeros_stand_for_no_commit() {
        assert!(is_none(&"0".repeat(40)) && is_none(&"0".repeat(64)));
        assert!(!is_none("") && !is_none(&format!("{}1", "0".repeat(39))));
    }
}
