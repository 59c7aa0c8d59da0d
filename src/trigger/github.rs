//! GitHub's webhooks, as documented in "Validating webhook deliveries" and "Webhook events and payloads".
//!
//! `X-Hub-Signature-256: sha256=HEX` is the HMAC-SHA256 of the raw body; of a form that is the encoded form,
//! not the JSON in it. The headers are not signed, so none of them decides more than how to answer. The old
//! SHA-1 header is not looked at.

use std::borrow::Cow;
use std::fmt::Display;

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::push::{Delivery, Notice, Push};
use super::receive::{Forge, Refusal};
use crate::http::{Secret, mac};

pub(super) struct GitHub;

impl Forge for GitHub {
    const NAME: &'static str = "github";
    const PATH: &'static str = "/webhooks/github";
    /// GitHub's own cap: a larger payload is not sent at all.
    const BODY: usize = 25 * 1024 * 1024;

    fn open(headers: &HeaderMap, raw: &[u8], secrets: &[Secret]) -> Result<Delivery, Refusal> {
        verify(headers, raw, secrets)?;
        let json = payload(headers, raw)?;
        let text =
            str::from_utf8(&json).map_err(|_| Refusal::Malformed("the payload is not UTF-8".into()))?;
        let id = name(headers, "x-github-delivery")?;
        let notice = match name(headers, "x-github-event")?.as_str() {
            "push" => Notice::Push(parse::<PushPayload>(text)?.into()),
            "ping" => parse::<IgnoredAny>(text).map(|_| Notice::Ping)?,
            other => parse::<IgnoredAny>(text).map(|_| Notice::Other(other.to_owned()))?,
        };
        Ok(Delivery { id, notice })
    }
}

fn verify(headers: &HeaderMap, raw: &[u8], secrets: &[Secret]) -> Result<(), Refusal> {
    let mut signatures = headers.get_all("x-hub-signature-256").iter();
    let first = signatures.next().ok_or(Refusal::Unsigned)?;
    if signatures.next().is_some() {
        return Err(Refusal::Forged("more than one signature"));
    }
    let hex = first.to_str().ok().and_then(|value| value.strip_prefix("sha256="));
    let signature = hex.and_then(mac::from_hex).ok_or(Refusal::Forged("malformed signature"))?;
    let signer = mac::signer(secrets, &[raw], &signature).ok_or(Refusal::Forged("wrong signature"))?;
    if signer > 0 {
        // What someone changing secrets looks for before taking the old one away.
        tracing::info!(secret = signer + 1, "a webhook is still signed with an older secret");
    }
    Ok(())
}

/// The JSON in the body, by its content type.
fn payload<'a>(headers: &HeaderMap, raw: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
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

/// The value of a header that must be there once and is a short plain name.
fn name(headers: &HeaderMap, header: &'static str) -> Result<String, Refusal> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    value
        .filter(|value| (1..=100).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic()))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::Malformed(format!("the header {header} is missing, repeated or malformed")))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Refusal> {
    let malformed = |what: &dyn Display| Refusal::Malformed(format!("the payload is malformed: {what}"));
    // serde would also take a list of the right values for a struct.
    if !json.trim_start().starts_with('{') {
        return Err(malformed(&"not a JSON object"));
    }
    serde_json::from_str(json).map_err(|error| malformed(&error))
}

/// What is read of a `push` event, out of some 180 fields.
#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    reference: String,
    /// Absent where nothing was deleted in payloads of old servers.
    #[serde(default)]
    deleted: bool,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

impl From<PushPayload> for Push {
    fn from(payload: PushPayload) -> Self {
        let PushPayload { reference, deleted, repository } = payload;
        Self { repository: repository.full_name, reference, deleted }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PUSH: &str = r#"{"ref":"refs/heads/main","deleted":false,"repository":{"full_name":"acme/shop"}}"#;

    fn secret() -> Secret {
        Secret::new("s").unwrap()
    }

    fn signed(body: &[u8], event: &'static str, content_type: &'static str) -> HeaderMap {
        let signature = format!("sha256={}", hex::encode(mac::sign(&secret(), &[body])));
        let mut headers = HeaderMap::new();
        headers.insert("x-hub-signature-256", signature.parse().unwrap());
        headers.insert("x-github-event", HeaderValue::from_static(event));
        headers.insert("x-github-delivery", HeaderValue::from_static("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        headers.insert("content-type", HeaderValue::from_static(content_type));
        headers
    }

    fn open(body: &str, event: &'static str, content_type: &'static str) -> Result<Delivery, Refusal> {
        let headers = signed(body.as_bytes(), event, content_type);
        GitHub::open(&headers, body.as_bytes(), &[secret()])
    }

    #[test]
    fn a_push_is_read_from_json_and_from_a_form() {
        let expected =
            Push { repository: "acme/shop".into(), reference: "refs/heads/main".into(), deleted: false };
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
        for (body, content_type) in [
            (PUSH, "application/json"),
            (PUSH, "Application/JSON; charset=utf-8"),
            (&form, "application/x-www-form-urlencoded"),
        ] {
            let delivery = open(body, "push", content_type).unwrap();
            assert_eq!(delivery.notice, Notice::Push(expected.clone()));
            assert_eq!(delivery.id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        }
    }

    #[test]
    fn the_signature_covers_the_form_not_the_json_in_it() {
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
        let over_json = signed(PUSH.as_bytes(), "push", "application/x-www-form-urlencoded");
        let refused = GitHub::open(&over_json, form.as_bytes(), &[secret()]);
        assert_eq!(refused, Err(Refusal::Forged("wrong signature")));
    }

    #[test]
    fn a_signature_must_be_there_once_and_well_formed() {
        let check = |change: &dyn Fn(&mut HeaderMap)| {
            let mut headers = signed(PUSH.as_bytes(), "push", "application/json");
            change(&mut headers);
            GitHub::open(&headers, PUSH.as_bytes(), &[secret()]).unwrap_err()
        };
        let set = |value: String| {
            move |headers: &mut HeaderMap| {
                headers.insert("x-hub-signature-256", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        };
        let right = hex::encode(mac::sign(&secret(), &[PUSH.as_bytes()]));
        let malformed = Refusal::Forged("malformed signature");
        assert_eq!(check(&|headers| drop(headers.remove("x-hub-signature-256"))), Refusal::Unsigned);
        for bad in ["", "sha256=", "sha1=abc", &right, &format!("sha256={}", right.to_uppercase()), "é"] {
            assert_eq!(check(&set(bad.to_owned())), malformed, "{bad}");
        }
        assert_eq!(check(&set(format!("sha256={}", "0".repeat(64)))), Refusal::Forged("wrong signature"));
        let twice = check(&|headers| {
            let again = headers["x-hub-signature-256"].clone();
            headers.append("x-hub-signature-256", again);
        });
        assert_eq!(twice, Refusal::Forged("more than one signature"));
    }

    #[test]
    fn what_is_signed_but_makes_no_sense_is_malformed() {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "\"push\"",
            "{} {}",
            r#"["refs/heads/main", false, {"full_name":"acme/shop"}]"#,
            r#"{"ref":null,"repository":{"full_name":"acme/shop"}}"#,
            r#"{"ref":"refs/heads/main"}"#,
            r#"{"ref":"refs/heads/main","repository":{}}"#,
        ] {
            let refused = open(body, "push", "application/json");
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{body}: {refused:?}");
        }
        let not_utf8 = b"{\"ref\":\"\xff\"}";
        let headers = signed(not_utf8, "star", "application/json");
        assert!(matches!(GitHub::open(&headers, not_utf8, &[secret()]), Err(Refusal::Malformed(_))));
        for form in ["", "payload", "other=1", "payload={}&payload={}"] {
            let refused = open(form, "push", "application/x-www-form-urlencoded");
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{form}: {refused:?}");
        }
        assert_eq!(open("{}", "push", "text/plain"), Err(Refusal::ContentType));
    }

    #[test]
    fn the_headers_that_name_a_delivery_must_be_there() {
        for header in ["x-github-event", "x-github-delivery"] {
            for bad in [None, Some(""), Some("two words"), Some(&*"x".repeat(101))] {
                let mut headers = signed(b"{}", "ping", "application/json");
                headers.remove(header);
                if let Some(bad) = bad {
                    headers.insert(header, bad.parse().unwrap());
                }
                let refused = GitHub::open(&headers, b"{}", &[secret()]);
                assert!(matches!(refused, Err(Refusal::Malformed(_))), "{header} {bad:?}");
            }
        }
    }

    #[test]
    fn other_events_keep_their_name() {
        let notice = |event| open("{\"a\":[1,{}]}", event, "application/json").unwrap().notice;
        assert_eq!(notice("ping"), Notice::Ping);
        assert_eq!(notice("workflow_run"), Notice::Other("workflow_run".into()));
    }
}
