//! What of an event's body is looked at: who it is and what it is about. Pure; everything else in it is the app's.
//!
//! Two forms exist. A *snapshot* (`"object": "event"`) holds its object, a *thin* one (`"v2.core.event"`) only names
//! it. Their `created` differ in type, their accounts in name.

use chrono::DateTime;
use serde::Deserialize;

/// An event's own words about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: String,
    /// `checkout.session.completed`.
    pub(super) kind: String,
    pub(super) thin: bool,
    pub(super) livemode: Option<bool>,
    /// The connected account (`account`), or a thin event's `context`.
    pub(super) account: Option<String>,
    /// The id of the object it is about.
    pub(super) object: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub(super) created: Option<i64>,
}

/// Why a body that is rightly signed is no event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAnEvent {
    #[error("the body is not JSON of an event: {0}")]
    Json(String),
    #[error("the body is a `{0}`, not an `event` or `v2.core.event`")]
    Object(String),
    #[error("the event's `{0}` is empty, too long or not plain text")]
    Word(&'static str),
}

#[derive(Deserialize)]
struct Body {
    id: String,
    object: String,
    #[serde(rename = "type")]
    kind: String,
    livemode: Option<bool>,
    created: Option<Created>,
    account: Option<String>,
    context: Option<Lenient>,
    data: Option<Data>,
    related_object: Option<Named>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Created {
    Seconds(i64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// A text where one stands; whatever else stands there is nobody's trouble here.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Text(String),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Data {
    object: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<Lenient>,
}

impl Head {
    pub(super) fn read(body: &[u8]) -> Result<Self, NotAnEvent> {
        if body.trim_ascii_start().first() != Some(&b'{') {
            // A list of the right values in the right order would be read as well.
            return Err(NotAnEvent::Json("it is no object".into()));
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| NotAnEvent::Json(error.to_string()))?;
        let thin = match &*body.object {
            "event" => false,
            "v2.core.event" => true,
            _ => return Err(NotAnEvent::Object(body.object.chars().take(100).collect())),
        };
        let named = if thin { body.related_object } else { body.data.and_then(|data| data.object) };
        let text = |lenient: Lenient| match lenient {
            Lenient::Text(text) => Some(text),
            Lenient::Other(_) => None,
        };
        let created = body.created.and_then(|created| match created {
            Created::Seconds(seconds) => Some(seconds.saturating_mul(1000)),
            Created::Text(text) => Some(DateTime::parse_from_rfc3339(&text).ok()?.timestamp_millis()),
            Created::Other(_) => None,
        });
        Ok(Self {
            id: word("id", body.id)?,
            kind: word("type", body.kind)?,
            thin,
            livemode: body.livemode,
            account: body.account.or_else(|| body.context.and_then(text)),
            object: named.and_then(|named| named.id).and_then(text),
            created,
        })
    }
}

/// A word that can stand in a header, a log line and a table.
fn word(name: &'static str, text: String) -> Result<String, NotAnEvent> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text) } else { Err(NotAnEvent::Word(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_hold_their_object() {
        let body =
            br#"{"id":"evt_1","object":"event","api_version":null,"account":"acct_1","created":1700000000,
            "livemode":false,"type":"charge.succeeded","pending_webhooks":1,"request":{"id":null},
            "data":{"object":{"id":"ch_1","object":"charge","nested":{"id":1}},"previous_attributes":{}}}"#;
        let head = Head::read(body).unwrap();
        let expected = Head {
            id: "evt_1".into(),
            kind: "charge.succeeded".into(),
            thin: false,
            livemode: Some(false),
            account: Some("acct_1".into()),
            object: Some("ch_1".into()),
            created: Some(1_700_000_000_000),
        };
        assert_eq!(head, expected);
    }

    #[test]
    fn thin_events_name_theirs() {
        let body =
            br#"{"id":"evt_test_1","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered",
            "created":"2026-11-22T10:00:00.500Z","livemode":true,"context":"acct_2","reason":null,
            "related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;
        let head = Head::read(body).unwrap();
        assert!(head.thin);
        assert_eq!(head.created, Some(1_795_341_600_500));
        assert_eq!((head.account.as_deref(), head.object.as_deref()), (Some("acct_2"), Some("mtr_1")));
    }

    #[test]
    fn an_event_about_nothing_that_is_known_is_still_one() {
        let body = br#"{"id":"evt_1","object":"event","type":"balance.available","created":{},"context":[],
            "data":{"object":{"object":"balance","id":7}}}"#;
        let head = Head::read(body).unwrap();
        assert_eq!((head.object, head.created, head.account, head.livemode), (None, None, None, None));
        let body =
            br#"{"id":"evt_1","object":"v2.core.event","type":"v2.core.event_destination.ping","data":null}"#;
        assert_eq!(Head::read(body).unwrap().object, None);
    }

    #[test]
    fn what_is_no_event_is_said_to_be_none() {
        let json = |body: &[u8]| matches!(Head::read(body), Err(NotAnEvent::Json(_)));
        for body in [
            &b""[..],
            b" ",
            b"null",
            b"[]",
            b"[\"e\",\"event\",\"a\",null,null,null,null,null,null]",
            b"\"text\"",
            b"{}",
            b"{\"id\":",
            b"{\"id\":1,\"object\":\"event\",\"type\":\"a\"}",
            b"\xef\xbb\xbf{\"id\":\"e\",\"object\":\"event\",\"type\":\"a\"}",
            b"{\"id\":\"\xff\",\"object\":\"event\",\"type\":\"a\"}",
            b"{\"id\":\"e\",\"id\":\"f\",\"object\":\"event\",\"type\":\"a\"}",
            b"{\"id\":\"e\",\"object\":\"event\",\"type\":\"a\"} trailing",
        ] {
            assert!(json(body), "{}", String::from_utf8_lossy(body));
        }
        assert!(json(format!("{{\"id\":{}", "[".repeat(100_000)).as_bytes()));
        let with = |id: &str, object: &str, kind: &str| {
            Head::read(serde_json::json!({ "id": id, "object": object, "type": kind }).to_string().as_bytes())
        };
        assert_eq!(with("e", "charge", "a").unwrap_err(), NotAnEvent::Object("charge".into()));
        assert_eq!(with("", "event", "a").unwrap_err(), NotAnEvent::Word("id"));
        assert_eq!(with("e\r\nX: y", "event", "a").unwrap_err(), NotAnEvent::Word("id"));
        assert_eq!(with("e", "event", &"a".repeat(256)).unwrap_err(), NotAnEvent::Word("type"));
    }
}
