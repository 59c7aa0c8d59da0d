//! Labels → routes. Finds everything that is wrong at once; what comes out can be rendered as it is.

use std::collections::BTreeMap;

use super::{Options, Route};
use crate::model::place::Place;
use crate::model::problem::Problem;
use crate::model::project::{Project, Service};
use crate::model::route::values;
use crate::plan::labels::{self, Refused};

/// All routes of a project, by port, host and path.
///
/// # Errors
/// Every unknown or refused label, routes that claim the same path, routes that nginx could not serve.
pub fn routes(project: &Project, options: &Options) -> Result<Vec<Route>, Vec<Problem>> {
    let mut problems = labels::unknown(project);
    let front = nginx_service(project).unwrap_or_else(|more| {
        problems.extend(more);
        None
    });
    let mut routes = Vec::new();
    for service in project.services.values() {
        for labels in Labels::of(service) {
            let (route, mut more) = labels.route(options);
            if let Some(front) = front {
                more.extend(labels.unreachable_from(front));
            }
            routes.extend(route);
            problems.append(&mut more);
        }
    }
    routes.sort_by(|a, b| order(a).cmp(&order(b)));
    problems.extend(duplicates(&routes));
    problems.extend(routes.iter().filter_map(|route| taken(route, options)));
    if let (Some(route), false) = (routes.first(), project.services.values().any(claims_nginx)) {
        let message = format!("service {} has a route, but no service is nginx", route.service);
        let hint = format!("give the nginx service the label {}: \"true\"", labels::NGINX);
        problems.push(Problem::new(&route.place, message).hint(hint));
    }
    if problems.is_empty() { Ok(routes) } else { Err(problems) }
}

/// The service that the routes go through, if there is one.
///
/// # Errors
/// A second one, or a label that is neither true nor false.
pub fn nginx_service(project: &Project) -> Result<Option<&Service>, Vec<Problem>> {
    let mut found: Option<&Service> = None;
    let mut problems = Vec::new();
    for service in project.services.values() {
        let Some(text) = service.labels.get(labels::NGINX) else { continue };
        let place = labels::place(service, labels::NGINX);
        match (labels::flag(text), found) {
            (Ok(false), _) => {}
            (Ok(true), None) => found = Some(service),
            (Ok(true), Some(first)) => {
                let message = format!("services {} and {} both claim to be nginx", first.name, service.name);
                let hint = format!("leave {} on one of them", labels::NGINX);
                problems.push(Problem::new(place, message).hint(hint));
            }
            (Err(refused), _) => problems.push(problem(place, &service.name, labels::NGINX, text, refused)),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn claims_nginx(service: &Service) -> bool {
    service.labels.contains_key(labels::NGINX)
}

fn problem(place: &Place, service: &str, label: &str, text: &str, (what, hint): Refused) -> Problem {
    let message = format!("service {service}: `{}` of `{label}` {what}", labels::shown(text));
    Problem::new(place, message).hint(hint)
}

/// The labels of one route of a service.
struct Labels<'a> {
    service: &'a Service,
    name: &'a str,
    /// By field: the whole label and its value.
    fields: BTreeMap<&'a str, (&'a str, &'a str)>,
}

impl<'a> Labels<'a> {
    fn of(service: &'a Service) -> Vec<Self> {
        let mut by_name: BTreeMap<&str, BTreeMap<&str, (&str, &str)>> = BTreeMap::new();
        for (label, value) in &service.labels {
            if let Some((name, field)) = labels::route_field(label) {
                by_name.entry(name).or_default().insert(field, (label, value));
            }
        }
        by_name.into_iter().map(|(name, fields)| Self { service, name, fields }).collect()
    }

    fn place(&self) -> Place {
        let places = self.fields.values().map(|(label, _)| labels::place(self.service, label));
        places.min().unwrap_or(&self.service.place).clone()
    }

    /// The route as far as it can be read, and what is wrong with it.
    fn route(&self, options: &Options) -> (Option<Route>, Vec<Problem>) {
        let mut problems = Vec::new();
        let wrong = &mut problems;
        let listen = self.read("listen", labels::port, wrong).unwrap_or(80);
        let host = self.read("host", values::host, wrong);
        let path = self.read("path", values::path, wrong).unwrap_or_else(|| "/".to_owned());
        let strip = self.read("strip", labels::flag, wrong).unwrap_or(false);
        let websocket = self.read("websocket", labels::flag, wrong).unwrap_or(false);
        let body_size = self.read("body_size", values::size, wrong);
        let timeout = self.read("timeout", labels::duration, wrong);
        let port = match self.fields.contains_key("port") {
            true => self.read("port", labels::port, wrong),
            false => self.only_port(wrong),
        };
        if listen == options.generation_port {
            let refused =
                ("is the port that nginx tells the agent its generation on", "listen on another one");
            let (label, text) = self.fields.get("listen").copied().unwrap_or(("agent.route.listen", "80"));
            wrong.push(problem(labels::place(self.service, label), &self.service.name, label, text, refused));
        }
        let route = port.filter(|_| wrong.is_empty()).map(|port| Route {
            service: self.service.name.clone(),
            name: self.name.to_owned(),
            place: self.place(),
            listen,
            host,
            path,
            strip,
            port,
            websocket,
            body_size,
            timeout,
        });
        (route, problems)
    }

    fn read<T>(
        &self,
        field: &str,
        reader: impl Fn(&str) -> Result<T, Refused>,
        wrong: &mut Vec<Problem>,
    ) -> Option<T> {
        let (label, text) = *self.fields.get(field)?;
        reader(text)
            .map_err(|refused| {
                let place = labels::place(self.service, label);
                wrong.push(problem(place, &self.service.name, label, text, refused));
            })
            .ok()
    }

    /// The one TCP port that the service exposes or publishes.
    fn only_port(&self, wrong: &mut Vec<Problem>) -> Option<u16> {
        let published =
            self.service.ports.iter().filter(|port| port.protocol != "udp").map(|port| port.target);
        let exposed = self.service.expose.iter().filter_map(|port| match port.split_once('/') {
            None => port.parse().ok(),
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
        });
        let mut ports: Vec<u16> = published.chain(exposed).collect();
        ports.sort_unstable();
        ports.dedup();
        if let [port] = ports[..] {
            return Some(port);
        }
        let which = match ports.is_empty() {
            true => "the service exposes none".to_owned(),
            false => format!(
                "the service exposes {}",
                ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
            ),
        };
        let message = format!("service {}: the port of the route is not known: {which}", self.service.name);
        let label = match self.name {
            "" => "agent.route.port".to_owned(),
            name => format!("agent.route.{name}.port"),
        };
        wrong.push(Problem::new(self.place(), message).hint(format!("add the label {label}")));
        None
    }

    fn unreachable_from(&self, front: &Service) -> Option<Problem> {
        let service = self.service;
        let shared = || front.networks.keys().any(|network| service.networks.contains_key(network));
        let (message, hint) = if service.name == front.name {
            (
                "is nginx itself and cannot have a route".to_owned(),
                "put the route on the service that answers",
            )
        } else if service.network_mode.is_some() {
            (
                "has a route, but a `network_mode` and so no address of its own".to_owned(),
                "give it networks instead",
            )
        } else if front.network_mode.is_some() {
            (
                format!(
                    "has a route, but {} has a `network_mode` and so shares no network with it",
                    front.name
                ),
                "give nginx `networks` and `ports` instead",
            )
        } else if !shared() {
            (format!("has a route, but shares no network with {}", front.name), "put both on one network")
        } else {
            return None;
        };
        Some(Problem::new(self.place(), format!("service {} {message}", service.name)).hint(hint))
    }
}

/// `/shop` and `/shop/` claim the same requests.
fn order(route: &Route) -> (u16, Option<&str>, &str, &str, &str) {
    let path = route.path.strip_suffix('/').unwrap_or(&route.path);
    (route.listen, route.host.as_deref(), path, &route.service, &route.name)
}

/// Whoever writes the repository must not be sent what is meant for the agent.
fn taken(route: &Route, options: &Options) -> Option<Problem> {
    let own =
        [(&options.published, "webhooks are", "webhook"), (&options.dashboard, "dashboard is", "dashboard")];
    let (_, what, section) = own.into_iter().find(|(published, ..)| {
        let published = published.as_ref();
        published.is_some_and(|own| own.is_taken_by(route.listen, route.host.as_deref(), &route.path))
    })?;
    let message = format!("service {} routes {}, where the agent's own {what}", route.service, route.path);
    let hint = format!("change its path, or `publish` under [{section}] of the agent's configuration");
    Some(Problem::new(&route.place, message).hint(&hint))
}

fn duplicates(sorted: &[Route]) -> impl Iterator<Item = Problem> + '_ {
    let claim = |route| {
        let (listen, host, path, ..) = order(route);
        (listen, host, path)
    };
    sorted.windows(2).filter_map(move |pair| match pair {
        [first, second] if claim(first) == claim(second) => {
            let on = first.host.as_deref().unwrap_or("any host");
            let message = format!(
                "services {} and {} both route {} of {on} on port {}; the first is at {}",
                first.service, second.service, first.path, first.listen, first.place
            );
            Some(Problem::new(&second.place, message).hint("change path, host or listen of one of them"))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
