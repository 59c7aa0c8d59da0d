//! From the labels of a service to the destination of Stripe's events that it is. Pure.

use std::time::Duration;

use crate::model::desired::Service as Desired;
use crate::model::problem::Problem;
use crate::model::project::Service;
use crate::model::route::Route;
use crate::model::stripe::Destination;

use super::fingerprint::{self, Key};
use super::labels::{self, Refused};

pub const PATH: &str = "agent.stripe.path";
pub const PORT: &str = "agent.stripe.port";
pub const EVENTS: &str = "agent.stripe.events";
pub const ENDPOINT: &str = "agent.stripe.endpoint";
pub const SECRET_ENV: &str = "agent.stripe.secret_env";
pub const ORDERED: &str = "agent.stripe.ordered";
pub const CONCURRENCY: &str = "agent.stripe.concurrency";
pub const TIMEOUT: &str = "agent.stripe.timeout";
pub const PASSTHROUGH: &str = "agent.stripe.passthrough";

/// All of them.
pub const LABELS: [&str; 9] =
    [PATH, PORT, EVENTS, ENDPOINT, SECRET_ENV, ORDERED, CONCURRENCY, TIMEOUT, PASSTHROUGH];

/// The destination that a service is, if its labels make it one.
///
/// # Errors
/// Every label that is wrong, each with its place.
pub fn destination(
    service: &Service,
    routes: &[Route],
    one_shot: bool,
    fingerprint: &str,
) -> Result<Option<Destination>, Vec<Problem>> {
    let Some(first) = LABELS.iter().find(|label| service.labels.contains_key(**label)) else {
        return Ok(None);
    };
    let mut reader = Reader { service, problems: Vec::new() };
    let path = reader.read(PATH, path);
    if !service.labels.contains_key(PATH) {
        reader.wrong(
            first,
            format!("has `{first}`, but no `{PATH}` to send events to"),
            "add it, such as /webhook",
        );
    }
    if one_shot {
        reader.wrong(
            first,
            "runs to its end, so events could never reach it".to_owned(),
            "take the label out",
        );
    }
    let routed = routes.iter().find(|route| route.service == service.name).map(|route| route.port);
    let port = reader.read(PORT, labels::port).or(routed);
    if port.is_none() && !service.labels.contains_key(PORT) {
        let hint = "add the label agent.stripe.port";
        reader.wrong(first, "takes Stripe's events, but on which port is not known".to_owned(), hint);
    }
    let destination = Destination {
        service: service.name.clone(),
        endpoint: reader.read(ENDPOINT, endpoint),
        events: reader.read(EVENTS, events).unwrap_or_else(|| vec!["*".to_owned()]),
        path: path.unwrap_or_default(),
        port: port.unwrap_or_default(),
        concurrency: reader.read(CONCURRENCY, concurrency).unwrap_or(4),
        timeout: reader.read(TIMEOUT, labels::duration).unwrap_or(Duration::from_secs(15)),
        ordered: reader.read(ORDERED, labels::flag).unwrap_or(false),
        passthrough: reader.read(PASSTHROUGH, labels::flag).unwrap_or(false),
        secret_env: reader.read(SECRET_ENV, variable).unwrap_or_else(|| "STRIPE_WEBHOOK_SECRET".to_owned()),
        fingerprint: fingerprint.to_owned(),
    };
    if reader.problems.is_empty() { Ok(Some(destination)) } else { Err(reader.problems) }
}

/// Gives a service its secret, as a part of what its instances are made from: another secret rolls it. Whatever
/// secret it had before, from another machine or another day, gives way.
///
/// # Errors
/// As for [`fingerprint::keyed`].
pub fn hand_over(service: &mut Desired, secret: &str, key: &Key) -> Result<(), serde_json::Error> {
    let Some(destination) = &service.stripe else { return Ok(()) };
    service.fingerprint = fingerprint::keyed(key, &(&destination.fingerprint, secret))?;
    service.template.environment.insert(destination.secret_env.clone(), secret.to_owned());
    Ok(())
}

struct Reader<'a> {
    service: &'a Service,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn read<T>(&mut self, label: &str, parse: fn(&str) -> Result<T, Refused>) -> Option<T> {
        let text = self.service.labels.get(label)?;
        let (what, hint) = match parse(text) {
            Ok(value) => return Some(value),
            Err(refused) => refused,
        };
        self.wrong(label, format!("has the label {label} = `{}`, which {what}", labels::shown(text)), hint);
        None
    }

    fn wrong(&mut self, label: &str, what: String, hint: &str) {
        let message = format!("service {} {what}", self.service.name);
        self.problems.push(Problem::new(labels::place(self.service, label), message).hint(hint));
    }
}

fn path(text: &str) -> Result<String, Refused> {
    match text.starts_with('/')
        && text.len() <= 500
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    {
        true => Ok(text.to_owned()),
        false => Err(("is not the path of a request", "write for example /webhook")),
    }
}

/// As in `stripe listen --events`, by comma; spaces do not matter.
fn events(text: &str) -> Result<Vec<String>, Refused> {
    let events: Vec<String> = text.split(',').map(|event| event.trim().to_owned()).collect();
    match events.iter().all(|event| is_pattern(event)) {
        true => Ok(events),
        false => Err((
            "is not a list of event types",
            "write for example \"checkout.session.*, payment_intent.succeeded\", or * for all",
        )),
    }
}

fn is_pattern(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text == "*" || text.strip_suffix(".*").unwrap_or(text).split('.').all(word)
}

fn endpoint(text: &str) -> Result<String, Refused> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    match !text.is_empty() && text.len() <= 40 && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => {
            Err(("is not an endpoint's name", "write NAME of [stripe.endpoints.NAME] of the configuration"))
        }
    }
}

fn variable(text: &str) -> Result<String, Refused> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match text.bytes().all(plain) && text.bytes().next().is_some_and(|b| !b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(("is not a variable's name", "write for example STRIPE_WEBHOOK_SECRET")),
    }
}

fn concurrency(text: &str) -> Result<u16, Refused> {
    match text.parse() {
        Ok(number @ 1..=256) => Ok(number),
        _ => Err(("is not a number of requests at once", "write a number from 1 to 256")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::place::Place;

    fn service(labels: &[(&str, &str)]) -> Service {
        let mut service = Service { name: "shop".into(), ..Service::default() };
        for (line, (label, value)) in labels.iter().enumerate() {
            service.labels.insert((*label).into(), (*value).into());
            service.label_places.insert((*label).into(), Place::new("c.yaml", line + 1, 7));
        }
        service
    }

    fn problems(labels: &[(&str, &str)]) -> Vec<String> {
        let problems = destination(&service(labels), &[], false, "f").unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_makes_a_destination() {
        assert_eq!(destination(&service(&[("agent.probe", "/")]), &[], false, "f"), Ok(None));
        let labels = [(PATH, "/webhook"), (PORT, "5000")];
        let found = destination(&service(&labels), &[], false, "f").unwrap().unwrap();
        assert_eq!((found.path.as_str(), found.port, found.concurrency), ("/webhook", 5000, 4));
        assert_eq!(
            (found.events, found.secret_env),
            (vec!["*".to_owned()], "STRIPE_WEBHOOK_SECRET".to_owned())
        );
        let labels =
            [(PATH, "/w?a=b"), (PORT, "1"), (EVENTS, "checkout.session.*, invoice.paid"), (TIMEOUT, "1m")];
        let found = destination(&service(&labels), &[], false, "f").unwrap().unwrap();
        assert_eq!(found.events, ["checkout.session.*", "invoice.paid"]);
        assert_eq!(found.timeout, Duration::from_secs(60));
    }

    #[test]
    fn every_wrong_label_is_named_with_its_line() {
        let labels = [
            (PATH, "webhook"),
            (PORT, "0"),
            (EVENTS, "checkout.*.completed"),
            (ENDPOINT, "My Endpoint"),
            (SECRET_ENV, "1X"),
            (ORDERED, "yes"),
            (CONCURRENCY, "0"),
            (TIMEOUT, "15"),
            (PASSTHROUGH, ""),
        ];
        let found = problems(&labels);
        assert_eq!(found.len(), labels.len(), "{found:#?}");
        for (line, (label, _)) in labels.iter().enumerate() {
            let named = format!("c.yaml:{}:7: service shop has the label {label} = ", line + 1);
            assert!(found.iter().any(|problem| problem.starts_with(&named)), "{named}: {found:#?}");
        }
    }

    #[test]
    fn what_could_get_no_event_is_refused() {
        assert!(problems(&[(EVENTS, "*"), (PORT, "1")])[0].contains("no `agent.stripe.path`"));
        assert!(problems(&[(PATH, "/w")])[0].contains("on which port is not known"));
        let labels = [(PATH, "/w"), (PORT, "1")];
        let found = destination(&service(&labels), &[], true, "f").unwrap_err();
        assert!(found[0].message.contains("runs to its end"), "{found:?}");
    }

    #[test]
    fn another_secret_is_another_fingerprint_whatever_was_there_before() {
        let stripe = destination(&service(&[(PATH, "/w"), (PORT, "1")]), &[], false, "f").unwrap();
        let plain = Desired { stripe, ..desired() };
        let with = |mut service: Desired, secret: &str| {
            hand_over(&mut service, secret, &[7; 64]).unwrap();
            service
        };
        let (one, two) = (with(plain.clone(), "one"), with(plain.clone(), "two"));
        assert_ne!(one.fingerprint, two.fingerprint);
        assert_eq!(two.template.environment["STRIPE_WEBHOOK_SECRET"], "two");
        assert_eq!(with(one.clone(), "two"), two);
        assert_eq!(with(desired(), "one"), desired());
    }

    fn desired() -> Desired {
        Desired::plain("web", "f")
    }
}
