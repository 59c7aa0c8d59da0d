//! What an instance of a service must show, from the service's labels. Pure.
//!
//! `agent.probe` is `tcp` or the path of an HTTP request; `agent.probe.port` its port, else the route's;
//! `agent.probe.host` the host that is asked for, else a route's, as apps may answer only for hosts that they know;
//! `agent.health_timeout` and `agent.settle` are durations such as `90s`; `agent.oneshot` is `true` or `false`.

use std::time::Duration;

use crate::model::desired::{Gate, Probe, ProbeKind};
use crate::model::problem::Problem;
use crate::model::project::Service;
use crate::model::route::Route;

use super::labels::{self, Refused};

/// How long gates wait when the service does not say: from `[roll]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub health_timeout: Duration,
    /// For what runs to its end.
    pub one_shot_timeout: Duration,
    pub settle: Duration,
}

/// The gate of a service, or what is wrong with its labels.
pub fn gate(
    service: &Service,
    routes: &[Route],
    one_shot: bool,
    patience: Patience,
) -> Result<Gate, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut duration = |label: &str, default: Duration| match read(service, label, labels::duration) {
        Ok(value) => value.unwrap_or(default),
        Err(problem) => {
            problems.push(problem);
            default
        }
    };
    let most = if one_shot { patience.one_shot_timeout } else { patience.health_timeout };
    let timeout = duration(labels::HEALTH_TIMEOUT, most);
    let settle = duration(labels::SETTLE, patience.settle);
    let probe = probe(service, routes).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let health = service.healthcheck.as_ref().is_some_and(|check| {
        !check.disable && !check.test.is_empty() && check.test.first().is_none_or(|word| word != "NONE")
    });
    if problems.is_empty() { Ok(Gate { health, probe, settle, timeout }) } else { Err(problems) }
}

/// Whether a label says that the service runs to its end.
pub fn one_shot(service: &Service) -> Result<bool, Problem> {
    Ok(read(service, labels::ONESHOT, labels::flag)?.unwrap_or(false))
}

fn probe(service: &Service, routes: &[Route]) -> Result<Option<Probe>, Problem> {
    let mut own = routes.iter().filter(|route| route.service == service.name);
    let known = own.clone().filter_map(|route| route.host.clone()).find(|host| !host.starts_with('*'));
    let route = own.next();
    let named = read(service, labels::PROBE_PORT, labels::port)?;
    let port = named.or(route.map(|route| route.port));
    let host = read(service, labels::PROBE_HOST, labels::host)?;
    let label = service.labels.get(labels::PROBE).map(String::as_str);
    if host.is_some() && (label == Some("tcp") || label.is_none() && route.is_none()) {
        let refused = ("is asked for nothing", "add agent.probe with a path such as /healthz");
        return Err(wrong(service, labels::PROBE_HOST, refused));
    }
    let host = host.or(known);
    let kind = match (label, route) {
        (Some("tcp"), _) => ProbeKind::Tcp,
        (Some(path), _) if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) => {
            ProbeKind::Http { path: path.to_owned(), host }
        }
        (Some(_), _) => {
            return Err(wrong(
                service,
                labels::PROBE,
                ("is neither tcp nor a path", "write tcp or a path such as /healthz"),
            ));
        }
        (None, Some(route)) => {
            let path = if route.strip { "/".to_owned() } else { route.path.clone() };
            ProbeKind::Route { path, host }
        }
        (None, None) if named.is_some() => ProbeKind::Tcp,
        (None, None) => return Ok(None),
    };
    match port {
        Some(port) => Ok(Some(Probe { port, kind })),
        None => Err(wrong(service, labels::PROBE, ("needs a port", "add agent.probe.port or a route"))),
    }
}

/// A label's value, if it is there and right.
fn read<T>(
    service: &Service,
    label: &str,
    parse: fn(&str) -> Result<T, Refused>,
) -> Result<Option<T>, Problem> {
    let value = service.labels.get(label).map(|text| parse(text)).transpose();
    value.map_err(|refused| wrong(service, label, refused))
}

fn wrong(service: &Service, label: &str, (what, hint): Refused) -> Problem {
    let value = service.labels.get(label).map_or("", String::as_str);
    let message = format!("{}: the label {label} = `{value}` {what}", service.name);
    Problem::new(labels::place(service, label), message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::place::Place;

    const PATIENCE: Patience = Patience {
        health_timeout: Duration::from_secs(60),
        one_shot_timeout: Duration::from_secs(900),
        settle: Duration::from_secs(3),
    };

    fn service(labels: &[(&str, &str)]) -> Service {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Service { name: "web".into(), place: Place::new("c.yaml", 3, 5), labels, ..Service::default() }
    }

    fn route() -> Route {
        Route { name: "default".into(), ..Route::plain("web", "/django/") }
    }

    #[test]
    fn a_probe_label_asks_the_routes_port() {
        let gate = gate(&service(&[("agent.probe", "/healthz")]), &[route()], false, PATIENCE).unwrap();
        let kind = ProbeKind::Http { path: "/healthz".into(), host: None };
        assert_eq!(gate.probe, Some(Probe { port: 8000, kind }));
    }

    #[test]
    fn a_probe_asks_for_the_host_of_a_route_or_of_its_label() {
        let on = |host: &str| Route { host: Some(host.into()), ..route() };
        let routes = [route(), on("*.example.com"), on("shop.example.com"), on("www.example.com")];
        let host = |labels: &[(&str, &str)], routes: &[Route]| {
            let kind = gate(&service(labels), routes, false, PATIENCE).unwrap().probe.unwrap().kind;
            match kind {
                ProbeKind::Http { host, .. } | ProbeKind::Route { host, .. } => host,
                ProbeKind::Tcp => panic!("a question without a host"),
            }
        };
        let shop = Some("shop.example.com".to_owned());
        assert_eq!(host(&[], &routes), shop);
        assert_eq!(host(&[("agent.probe", "/healthz"), ("agent.probe.port", "9000")], &routes), shop);
        assert_eq!(host(&[("agent.probe", "/healthz")], &routes[..2]), None);
        assert_eq!(host(&[("agent.probe.host", "localhost")], &routes), Some("localhost".into()));
        let other = [Route { service: "other".into(), ..on("other.example.com") }, route()];
        assert_eq!(host(&[], &other), None);
    }

    #[test]
    fn a_host_to_ask_for_needs_a_question() {
        let refused = |labels: &[(&str, &str)]| {
            gate(&service(labels), &[], false, PATIENCE).unwrap_err().remove(0).to_string()
        };
        let named = ("agent.probe.host", "shop.example.com");
        for labels in [&[named][..], &[named, ("agent.probe.port", "1")]] {
            assert!(refused(labels).contains("is asked for nothing (add agent.probe with a path"));
        }
        assert!(
            refused(&[("agent.probe.host", "*.example.com")]).contains("is many hosts (write one of them)")
        );
    }

    #[test]
    fn a_route_without_a_probe_label_is_asked_on_its_own_path() {
        let gate = gate(&service(&[]), &[route()], false, PATIENCE).unwrap();
        let kind = ProbeKind::Route { path: "/django/".into(), host: None };
        assert_eq!(gate.probe, Some(Probe { port: 8000, kind }));
    }

    #[test]
    fn durations_are_read_from_labels() {
        let labels = [("agent.health_timeout", "2m"), ("agent.settle", "500ms")];
        let gate = gate(&service(&labels), &[], false, PATIENCE).unwrap();
        assert_eq!((gate.timeout, gate.settle), (Duration::from_secs(120), Duration::from_millis(500)));
    }

    #[test]
    fn wrong_labels_are_all_named() {
        let labels = [("agent.health_timeout", "soon"), ("agent.settle", "3"), ("agent.probe", "healthz")];
        let problems = gate(&service(&labels), &[], false, PATIENCE).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0].place, Place::new("c.yaml", 3, 5));
        assert!(
            problems[0].message.starts_with("web: the label agent.health_timeout = `soon` is not a duration")
        );
        assert!(gate(&service(&[("agent.probe", "tcp")]), &[], false, PATIENCE).is_err());
    }
}
