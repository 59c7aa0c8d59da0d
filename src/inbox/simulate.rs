//! Events as Stripe would send them, made here: no account, no network. What is made goes the way of any other, in
//! through the verification, with the endpoint's real secret; only the mark that it is simulated cannot come from
//! outside.

mod fields;
mod samples;

use std::fs::File;
use std::io::{self, Read};

use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::receive::{Arrival, take};
use super::{Endpoint, Inbox, SigningSecret, signature};
use crate::http::Secret;

pub use fields::FieldError;
pub use samples::kinds;

/// At most this many at once: a person's slip must not fill the store.
const MOST: u32 = 100_000;

/// What a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulation {
    pub endpoint: String,
    /// `checkout.session.completed`; with `body` it may be empty.
    pub kind: String,
    /// The form that only names its object.
    pub thin: bool,
    /// Places in the event (`data.object.amount_total`) and what is to stand there: JSON, or else plain text.
    pub set: Vec<(String, String)>,
    /// The event itself, sent as it is.
    pub body: Option<String>,
    /// The connected account it is about.
    pub account: Option<String>,
    /// Seconds ago that it claims to have been signed; less than 0 for the future.
    pub age: i64,
    /// How many, each an event of its own, one after the other.
    pub times: u32,
    /// Signs with a secret that nobody has.
    pub bad_signature: bool,
}

/// One simulated event, and what Stripe would have heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Simulated {
    pub id: String,
    pub kind: String,
    pub status: u16,
    pub said: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    #[error("there is no endpoint `{0}`; there are: {1}")]
    NoEndpoint(String, String),
    #[error("no event of type `{0}` can be made up: give one with --body, or take one of\n  {1}")]
    Kind(String, String),
    #[error("the body is not JSON, so nothing can be set in it")]
    Body(#[source] serde_json::Error),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("{0} times is more than {MOST} at once")]
    Times(u32),
    #[error("the machine gives no random numbers")]
    Random(#[from] io::Error),
}

impl Inbox {
    /// Makes up what is asked for and takes it in.
    pub async fn simulate(&self, asked: &Simulation) -> Result<Vec<Simulated>, SimulationError> {
        let setup = self.setup();
        let endpoint = setup.endpoints.iter().find(|known| known.name == asked.endpoint);
        let endpoint = endpoint.ok_or_else(|| {
            let known: Vec<&str> = setup.endpoints.iter().map(|known| &*known.name).collect();
            SimulationError::NoEndpoint(asked.endpoint.clone(), known.join(", "))
        })?;
        if asked.times > MOST {
            return Err(SimulationError::Times(asked.times));
        }
        let mut simulated = Vec::new();
        for _ in 0..asked.times {
            simulated.push(self.simulate_one(endpoint, asked).await?);
        }
        Ok(simulated)
    }

    async fn simulate_one(
        &self,
        endpoint: &Endpoint,
        asked: &Simulation,
    ) -> Result<Simulated, SimulationError> {
        let now = self.now();
        let signing = signing(endpoint);
        let live = signing.is_some_and(|signing| signing.livemode == Some(true));
        let body = asked.text(now, live)?;
        let secret = match signing {
            Some(signing) if !asked.bad_signature => signing.secret.clone(),
            _ => nobodys()?,
        };
        let signature = signature::sign(&[secret], body.as_bytes(), now / 1000 - asked.age);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
        // Digits and commas: always a header.
        headers.extend(HeaderValue::try_from(signature).ok().map(|value| (SIGNATURE, value)));
        let arrival = Arrival { headers: &headers, body: body.as_bytes(), client: None, simulated: true };
        let answer = take(self, &endpoint.name, arrival).await;
        let event: Value = serde_json::from_str(&body).unwrap_or_default();
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let (id, kind) = (word("id"), word("type"));
        Ok(Simulated { id, kind, status: answer.status().as_u16(), said: answer.to_string() })
    }
}

const SIGNATURE: axum::http::HeaderName = axum::http::HeaderName::from_static("stripe-signature");

/// The endpoint's secret to sign with: of test mode where it has one.
fn signing(endpoint: &Endpoint) -> Option<&SigningSecret> {
    let test = endpoint.secrets.iter().find(|signing| signing.livemode != Some(true));
    test.or_else(|| endpoint.secrets.first())
}

fn nobodys() -> io::Result<Secret> {
    Secret::new(format!("whsec_{}", random()?)).map_err(io::Error::other)
}

/// 24 random hexadecimal digits.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0; 12];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}

impl Simulation {
    /// The body as it is sent. `now` in milliseconds since the Unix epoch.
    pub fn text(&self, now: i64, live: bool) -> Result<String, SimulationError> {
        if let Some(body) = self.body.as_ref().filter(|_| self.set.is_empty()) {
            return Ok(body.clone());
        }
        let mut event = match &self.body {
            Some(body) => serde_json::from_str(body).map_err(SimulationError::Body)?,
            None => self.event(now, live)?,
        };
        for (path, text) in &self.set {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            fields::set(&mut event, path, value)?;
        }
        // Stripe's are indented as well, which is why nobody may write them anew on their way.
        Ok(format!("{event:#}"))
    }

    fn event(&self, now: i64, live: bool) -> Result<Value, SimulationError> {
        let random = random()?;
        let id = format!("evt_sim_{random}");
        let kind = self.kind.strip_prefix("v1.").filter(|_| self.thin).unwrap_or(&self.kind);
        let object = samples::object(kind, &random, now / 1000, live);
        if self.thin {
            return Ok(self.thin_event(&id, object.as_ref(), now, live));
        }
        let unknown = || SimulationError::Kind(self.kind.clone(), kinds().join("\n  "));
        let mut event = json!({
            "id": id,
            "object": "event",
            "api_version": "2025-09-30.clover",
            "created": now / 1000,
            "data": { "object": object.ok_or_else(unknown)? },
            "livemode": live,
            "pending_webhooks": 1,
            "request": { "id": format!("req_sim_{random}"), "idempotency_key": null },
            "type": self.kind,
        });
        if let Some(account) = &self.account {
            event["account"] = json!(account);
        }
        Ok(event)
    }

    fn thin_event(&self, id: &str, object: Option<&Value>, now: i64, live: bool) -> Value {
        let versioned = self.kind.starts_with("v1.") || self.kind.starts_with("v2.");
        let kind = if versioned { self.kind.clone() } else { format!("v1.{}", self.kind) };
        let created = DateTime::from_timestamp_millis(now).unwrap_or_default();
        let related = object.map(|object| {
            let (id, kind) = (&object["id"], object["object"].as_str().unwrap_or_default());
            let url = format!("/v1/{}s/{}", kind.replace('.', "/"), id.as_str().unwrap_or_default());
            json!({ "id": id, "type": kind, "url": url })
        });
        json!({
            "id": id,
            "object": "v2.core.event",
            "context": self.account,
            "created": created.to_rfc3339_opts(SecondsFormat::Millis, true),
            "livemode": live,
            "reason": null,
            "related_object": related,
            "type": kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::event::Head;

    const NOW: i64 = 1_700_000_000_000;

    fn of(kind: &str) -> Simulation {
        Simulation { endpoint: "default".into(), kind: kind.into(), times: 1, ..Simulation::default() }
    }

    #[test]
    fn every_kind_makes_an_event_about_an_object() {
        for kind in kinds() {
            for thin in [false, true] {
                let text = Simulation { thin, ..of(kind) }.text(NOW, false).unwrap();
                let head = Head::read(text.as_bytes()).unwrap();
                assert_eq!(head.kind, if thin { format!("v1.{kind}") } else { kind.to_owned() });
                assert_eq!(
                    (head.thin, head.livemode, head.created),
                    (thin, Some(false), Some(NOW)),
                    "{kind}"
                );
                let object = head.object.unwrap();
                assert!(object.contains("_sim_"), "{kind}: {object}");
                assert!(!text.contains("…") && !text.contains("\"@"), "something was left open: {text}");
            }
        }
    }

    #[test]
    fn ids_are_new_each_time_and_agree_within_an_event() {
        let event =
            || -> Value { serde_json::from_str(&of("charge.succeeded").text(NOW, false).unwrap()).unwrap() };
        let (first, second) = (event(), event());
        assert_ne!(first["id"], second["id"]);
        assert_ne!(first["data"]["object"]["id"], second["data"]["object"]["id"]);
        let tail = |value: &Value| value.as_str().unwrap().rsplit('_').next().unwrap().to_owned();
        assert_eq!(tail(&first["id"]), tail(&first["data"]["object"]["payment_intent"]));
    }

    #[test]
    fn anything_can_be_set() {
        let mut asked = of("checkout.session.completed");
        let set = [
            ("data.object.amount_total", "4200"),
            ("data.object.customer_details.email", "jane@example.org"),
            ("data.object.metadata.order", "\"12\""),
            ("id", "evt_mine"),
        ];
        asked.set = set.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let event: Value = serde_json::from_str(&asked.text(NOW, false).unwrap()).unwrap();
        let object = &event["data"]["object"];
        assert_eq!(object["amount_total"], 4200);
        assert_eq!(object["customer_details"]["email"], "jane@example.org");
        assert_eq!(object["metadata"]["order"], "12");
        assert_eq!(event["id"], "evt_mine");
    }

    #[test]
    fn a_body_is_sent_as_it_is_unless_something_is_set_in_it() {
        let mut asked = Simulation { body: Some("{ \"id\":\"evt_1\" , \"n\": 1.0 }".into()), ..of("") };
        assert_eq!(asked.text(NOW, false).unwrap(), "{ \"id\":\"evt_1\" , \"n\": 1.0 }");
        asked.set = vec![("n".into(), "2".into())];
        assert_eq!(asked.text(NOW, false).unwrap(), "{\n  \"id\": \"evt_1\",\n  \"n\": 2\n}");
        asked.body = Some("nonsense".into());
        assert!(matches!(asked.text(NOW, false), Err(SimulationError::Body(_))));
    }

    #[test]
    fn what_cannot_be_made_up_is_said_with_what_can() {
        let error = of("no.such").text(NOW, false).unwrap_err().to_string();
        assert!(error.contains("`no.such`") && error.contains("invoice.paid"), "{error}");
        let thin = Simulation { thin: true, ..of("v2.core.event_destination.ping") };
        assert!(thin.text(NOW, false).is_ok(), "a thin one needs no object");
    }
}
