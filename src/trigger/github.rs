//! GitHub's webhooks, as documented in "Validating webhook deliveries" and "Webhook events and payloads".
//!
//! `X-Hub-Signature-256: sha256=HEX` is the HMAC-SHA256 of the raw body; of a form that is the encoded form,
//! not the JSON in it. The headers are not signed, so none of them decides more than how to answer. The old
//! SHA-1 header is not looked at.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::envelope::{Refusal, name, parse, payload, verify_hex};
use super::push::{Delivery, Notice, Push};
use super::receive::Verifier;
use crate::http::Secret;

pub(super) struct GitHub;

impl Verifier for GitHub {
    /// GitHub's own cap: a larger payload is not sent at all.
    fn body(&self) -> usize {
        25 * 1024 * 1024
    }

    fn open(
        &self,
        headers: &HeaderMap,
        raw: &[u8],
        secrets: &[Secret],
        _: DateTime<Utc>,
    ) -> Result<Delivery, Refusal> {
        verify_hex(headers, "x-hub-signature-256", "sha256=", raw, secrets)?;
        let json = payload(headers, raw)?;
        let id = name(headers, "x-github-delivery")?;
        let notice = match name(headers, "x-github-event")?.as_str() {
            "push" => Notice::Push(vec![parse::<PushPayload>(&json)?.into()]),
            "ping" => parse::<IgnoredAny>(&json).map(|_| Notice::Ping)?,
            other => parse::<IgnoredAny>(&json).map(|_| Notice::Other(other.to_owned()))?,
        };
        Ok(Delivery { id, notice })
    }
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
    use crate::http::mac;

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
        GitHub.open(&headers, body.as_bytes(), &[secret()], Utc::now())
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
            assert_eq!(delivery.notice, Notice::Push(vec![expected.clone()]));
            assert_eq!(delivery.id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        }
    }

    #[test]
    fn the_signature_covers_the_form_not_the_json_in_it() {
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
        let over_json = signed(PUSH.as_bytes(), "push", "application/x-www-form-urlencoded");
        let refused = GitHub.open(&over_json, form.as_bytes(), &[secret()], Utc::now());
        assert_eq!(refused, Err(Refusal::Forged("wrong signature")));
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
        assert!(matches!(
            GitHub.open(&headers, not_utf8, &[secret()], Utc::now()),
            Err(Refusal::Malformed(_))
        ));
        for form in ["", "payload", "other=1", "payload={}&payload={}"] {
            let refused = open(form, "push", "application/x-www-form-urlencoded");
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{form}: {refused:?}");
        }
        assert_eq!(open("{}", "push", "text/plain"), Err(Refusal::ContentType));
    }

    #[test]
    fn the_headers_that_name_a_delivery_must_be_there() {
        for header in ["x-github-event", "x-github-delivery"] {
            for bad in [None, Some(""), Some(&*"x".repeat(101))] {
                let mut headers = signed(b"{}", "ping", "application/json");
                headers.remove(header);
                if let Some(bad) = bad {
                    headers.insert(header, bad.parse().unwrap());
                }
                let refused = GitHub.open(&headers, b"{}", &[secret()], Utc::now());
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
