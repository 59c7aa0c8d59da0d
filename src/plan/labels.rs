//! The labels by which a service speaks to the agent: which there are, and how their values are read.
//!
//! A label under `agent.` that is not listed here is refused, because a misspelt one would be silently without
//! effect. What a label means is decided where it is used.

use std::time::Duration;

use crate::model::place::Place;
use crate::model::problem::Problem;
use crate::model::project::{Project, Service};

use super::stripe;

pub const NGINX: &str = "agent.nginx";
pub const PROBE: &str = "agent.probe";
pub const PROBE_PORT: &str = "agent.probe.port";
pub const PROBE_HOST: &str = "agent.probe.host";
pub const ONESHOT: &str = "agent.oneshot";
pub const HEALTH_TIMEOUT: &str = "agent.health_timeout";
pub const SETTLE: &str = "agent.settle";
pub const ON_CHANGE: &str = "agent.on_change";

const PLAIN: [&str; 8] = [NGINX, PROBE, PROBE_PORT, PROBE_HOST, ONESHOT, HEALTH_TIMEOUT, SETTLE, ON_CHANGE];

/// `agent.route.FIELD` or `agent.route.NAME.FIELD`.
const ROUTE: &str = "agent.route.";
const ROUTE_FIELDS: [&str; 8] =
    ["body_size", "host", "listen", "path", "port", "strip", "timeout", "websocket"];

/// The labels that are written in one way only.
fn plain() -> impl Iterator<Item = &'static str> {
    PLAIN.into_iter().chain(stripe::LABELS)
}

/// Where a label of the service was written, for messages about it.
pub fn place<'a>(service: &'a Service, label: &str) -> &'a Place {
    service.label_places.get(label).unwrap_or(&service.place)
}

/// The route's name (empty for the only one of a service) and the field, if this is a label of a route.
pub(super) fn route_field(label: &str) -> Option<(&str, &str)> {
    let rest = label.strip_prefix(ROUTE)?;
    let (name, field) = rest.split_once('.').unwrap_or(("", rest));
    let named = name.is_empty() != rest.contains('.');
    let plain =
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    (named && plain && name.len() <= 40 && ROUTE_FIELDS.contains(&field)).then_some((name, field))
}

/// Every label under `agent.` that the agent does not know.
pub fn unknown(project: &Project) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in project.services.values() {
        for label in service.labels.keys().filter(|label| label.starts_with("agent.")) {
            if plain().any(|known| known == label) || route_field(label).is_some() {
                continue;
            }
            let hint = match nearest(label) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    let plain = plain().collect::<Vec<_>>().join(", ");
                    format!("known are {plain}, {ROUTE}{{{}}}", ROUTE_FIELDS.join(", "))
                }
            };
            let message = format!("service {} has an unknown label `{}`", service.name, shown(label));
            problems.push(Problem::new(place(service, label), message).hint(hint));
        }
    }
    problems
}

fn nearest(label: &str) -> Option<String> {
    let name = label.strip_prefix(ROUTE).and_then(|rest| rest.split_once('.')).map(|(name, _)| name);
    let fields = ROUTE_FIELDS.iter().map(|field| match name {
        Some(name) => format!("{ROUTE}{}.{field}", name.to_ascii_lowercase()),
        None => format!("{ROUTE}{field}"),
    });
    plain()
        .map(str::to_owned)
        .chain(fields)
        .map(|known| (strsim::osa_distance(label, &known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known)
}

/// A value as it may stand in a message: one short line.
pub(super) fn shown(value: &str) -> String {
    let line: String = value.chars().take(60).flat_map(char::escape_debug).collect();
    if value.chars().count() > 60 { format!("{line}…") } else { line }
}

use crate::model::route::values;
pub use crate::model::route::values::Refused;

pub fn flag(text: &str) -> Result<bool, Refused> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(("is neither true nor false", "write \"true\" or \"false\"")),
    }
}

pub fn port(text: &str) -> Result<u16, Refused> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number != 0 => Ok(number),
        _ => Err(("is not a port", "write a number from 1 to 65535")),
    }
}

/// One host, by its name.
pub fn host(text: &str) -> Result<String, Refused> {
    match values::host(text)? {
        any if any.starts_with('*') => Err(("is many hosts", "write one of them")),
        one => Ok(one),
    }
}

/// `500ms`, `60s`, `1m30s`, `2h`: more than nothing, at most a day.
pub fn duration(text: &str) -> Result<Duration, Refused> {
    const REFUSED: Refused =
        ("is not a duration of more than nothing and at most a day", "write for example 500ms, 60s or 1m30s");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(unit);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(REFUSED),
        };
        let number: u64 = number.parse().map_err(|_| REFUSED)?;
        let part = number.checked_mul(milliseconds).ok_or(REFUSED)?;
        total = total.checked_add(part).ok_or(REFUSED)?;
        rest = tail;
    }
    if (1..=86_400_000).contains(&total) { Ok(Duration::from_millis(total)) } else { Err(REFUSED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(labels: &[(&str, &str)]) -> Project {
        let mut service = Service { name: "web".into(), ..Service::default() };
        for (line, (label, value)) in labels.iter().enumerate() {
            service.labels.insert((*label).into(), (*value).into());
            service.label_places.insert((*label).into(), Place::new("compose.yaml", line + 1, 7));
        }
        Project { services: [("web".to_owned(), service)].into(), ..Project::default() }
    }

    #[test]
    fn known_labels_pass() {
        let mut labels: Vec<(&str, &str)> = plain().map(|label| (label, "x")).collect();
        labels.extend([
            ("agent.route.port", "1"),
            ("agent.route.api-2.path", "/"),
            ("traefik.enable", "true"),
        ]);
        assert_eq!(unknown(&service(&labels)), []);
    }

    #[test]
    fn a_misspelt_label_is_named_with_the_nearest_known_one() {
        let problems = unknown(&service(&[
            ("agent.route.prot", "80"),
            ("agent.route.api.pth", "/"),
            ("agent.route.API.path", "/"),
            ("agent.one_shot", "true"),
            ("agent.stack", "mine"),
        ]));
        let hints: Vec<_> = problems.iter().map(|p| p.hint.clone().unwrap_or_default()).collect();
        assert_eq!(hints[0], "did you mean `agent.oneshot`?");
        assert_eq!(hints[1], "did you mean `agent.route.api.path`?");
        assert_eq!(hints[2], "did you mean `agent.route.api.path`?");
        assert_eq!(hints[3], "did you mean `agent.route.port`?");
        assert!(hints[4].starts_with("known are agent.nginx, "), "{}", hints[4]);
        assert_eq!(problems[3].place, Place::new("compose.yaml", 1, 7));
        assert_eq!(problems[3].message, "service web has an unknown label `agent.route.prot`");
    }

    #[test]
    fn a_route_may_have_a_name() {
        assert_eq!(route_field("agent.route.port"), Some(("", "port")));
        assert_eq!(route_field("agent.route.api.port"), Some(("api", "port")));
        for bad in ["agent.route.", "agent.route..port", "agent.route.a.b.port", "agent.route.a b.port"] {
            assert_eq!(route_field(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "60", "s", "0s", "25h", "-1s", "1.5s", "1s;", "99999999999999999999s", "1 s", "1d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_and_flags_are_strict() {
        assert_eq!(port("8000"), Ok(8000));
        for bad in ["", "0", "+80", "65536", "80/tcp", " 80"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        assert_eq!((flag("true"), flag("false")), (Ok(true), Ok(false)));
        assert!(flag("yes").is_err());
    }
}
