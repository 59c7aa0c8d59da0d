//! What the tip of the branch asks of this machine: that it can be understood and is allowed, that its images can be
//! had, and that nobody else has its ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;

use super::Finding;
use crate::app::Preview;
use crate::model::run::Failure;

pub(super) const WHAT: &str = "stack";

/// The tip, planned and rendered by whoever can: the daemon, or the process that checks.
pub struct Asked {
    pub preview: Preview,
    /// In the shape of `docker compose config --format json`.
    pub project: Value,
    /// The ports that the stack's own containers have published already.
    pub held: BTreeSet<u16>,
}

pub(super) fn look(asked: Result<Asked, Failure>) -> Vec<Finding> {
    let Asked { preview, project, held } = match asked {
        Ok(asked) => asked,
        Err(failure) => {
            let found = match &failure.service {
                Some(service) => format!("{service}: {}", failure.message),
                None => failure.message,
            };
            let mend = failure.hint.unwrap_or_else(|| "see `agent plan`".to_owned());
            return vec![Finding::wrong(WHAT, found, mend)];
        }
    };
    let services = project["services"].as_object().map_or(0, serde_json::Map::len);
    let mut findings =
        vec![Finding::good(WHAT, format!("{services} services, of {}", preview.plan.revision.short()))];
    findings.extend(
        preview.warnings.into_iter().map(|warning| Finding::doubtful(WHAT, warning, "see `agent plan`")),
    );
    findings
        .extend(published(&project).into_iter().filter(|(_, port)| !held.contains(port)).filter_map(taken));
    findings
}

/// The host ports a project publishes over TCP, with who asks for them.
fn published(project: &Value) -> Vec<(String, u16)> {
    let mut ports = Vec::new();
    for (name, service) in project["services"].as_object().into_iter().flatten() {
        for port in service["ports"].as_array().into_iter().flatten() {
            let tcp = port["protocol"].as_str().is_none_or(|protocol| protocol == "tcp");
            // A range is the engine's to choose from.
            let number = port["published"].as_str().and_then(|text| text.parse().ok());
            ports.extend(number.filter(|_| tcp).map(|number| (name.clone(), number)));
        }
    }
    ports
}

fn taken((service, port): (String, u16)) -> Option<Finding> {
    let error = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).err()?;
    let found = format!("{service} wants port {port} of this machine: {error}");
    let mend = format!("see who has it (ss -ltnp 'sport = :{port}'; docker ps), or publish another port");
    Some(Finding::wrong("ports", found, mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_tcp_ports_are_looked_at() {
        let project = serde_json::json!({ "services": {
            "nginx": { "ports": [
                { "target": 80, "published": "80", "protocol": "tcp" },
                { "target": 53, "published": "53", "protocol": "udp" },
                { "target": 90, "published": "9000-9010", "protocol": "tcp" },
                { "target": 91, "protocol": "tcp" },
            ] },
            "web": {},
        } });
        assert_eq!(published(&project), [("nginx".to_owned(), 80)]);
    }

    #[test]
    fn a_port_of_somebody_else_is_named_with_who_wants_it() {
        let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let finding = taken(("nginx".into(), port)).unwrap();
        assert!(finding.found.contains(&format!("nginx wants port {port}")), "{finding:?}");
        drop(other);
        assert_eq!(taken(("nginx".into(), port)), None);
    }
}
