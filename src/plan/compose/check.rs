//! What only the whole project shows: profiles, references, contradictions, circles.

use std::collections::BTreeSet;

use super::Request;
use super::problem::{Log, Problem};
use super::suggest;
use super::tree::Node;
use crate::model::place::Place;
use crate::model::project::{FileContent, FileGrant, MountSource, Network, Project, Service};

mod cycle;
mod service;

/// What the operator asked for, against what the files say.
pub(super) fn request(request: &Request<'_>, tree: &Node, log: &mut Log) {
    let first = request.paths.first().map_or("", String::as_str);
    let whole = Place::new(first, 0, 0);
    if !valid_project_name(request.name) {
        let message = format!("`{}` cannot be the name of a project", request.name);
        log.problem(
            Problem::new(whole.clone(), message)
                .hint("use lower-case letters, digits, `-` and `_`, starting with a letter or digit"),
        );
    }
    if let Some(name) = tree.get("name")
        && name.as_text() != Some(request.name)
    {
        let written = name.as_text().unwrap_or_default();
        let message = format!("the file calls the project `{written}`; it runs as `{}`", request.name);
        log.warning(
            Problem::new(name.place.clone(), message).hint("remove `name`, or give the agent the same"),
        );
    }
    if tree.get("services").and_then(Node::as_map).is_none_or(|services| services.is_empty()) {
        log.problem(Problem::new(whole, "there are no services"));
    }
}

fn valid_project_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || matches!(c, '-' | '_'))
}

/// Takes out what the profiles leave out and what nothing uses, and checks the rest.
pub(super) fn project(project: &mut Project, profiles: &[String], log: &mut Log) {
    let active = |service: &Service| {
        service.profiles.is_empty()
            || service.profiles.iter().any(|profile| profiles.iter().any(|one| one == profile || one == "*"))
    };
    let inactive: BTreeSet<String> = project
        .services
        .values()
        .filter(|service| !active(service))
        .map(|service| service.name.clone())
        .collect();
    project.services.retain(|name, _| !inactive.contains(name));
    let needs_default = |service: &Service| service.networks.contains_key("default");
    if !project.networks.contains_key("default") && project.services.values().any(needs_default) {
        let name = format!("{}_default", project.name);
        project.networks.insert("default".to_owned(), Network { name, ..Network::default() });
    }
    for service in project.services.values() {
        service::check(service, log);
        references(project, service, &inactive, log);
    }
    unique_names(project, log);
    cycle::check(project, log);
    prune(project);
}

fn references(project: &Project, service: &Service, inactive: &BTreeSet<String>, log: &mut Log) {
    let name = &service.name;
    for (wanted, dependency) in &service.depends_on {
        if project.services.contains_key(wanted) || (!dependency.required && inactive.contains(wanted)) {
            continue;
        }
        if inactive.contains(wanted) {
            let message = format!("`{name}` depends on `{wanted}`, which no active profile starts");
            let hint = format!("activate a profile of `{wanted}`, or write `required: false`");
            log.problem(Problem::new(dependency.place.clone(), message).hint(hint));
        } else {
            undeclared(name, "service", wanted, &dependency.place, project.services.keys(), log);
        }
    }
    for (wanted, attachment) in &service.networks {
        if !project.networks.contains_key(wanted) {
            undeclared(name, "network", wanted, &attachment.place, project.networks.keys(), log);
        }
    }
    for mount in &service.volumes {
        if let MountSource::Volume(wanted) = &mount.source
            && !project.volumes.contains_key(wanted)
        {
            undeclared(name, "volume", wanted, &mount.place, project.volumes.keys(), log);
        }
    }
    for (kind, grants, known) in
        [("secret", &service.secrets, &project.secrets), ("config", &service.configs, &project.configs)]
    {
        for FileGrant { source, place, .. } in grants {
            match known.get(source).map(|object| &object.content) {
                None => undeclared(name, kind, source, place, known.keys(), log),
                Some(FileContent::Environment { variable, value: None }) => {
                    let message = format!(
                        "the {kind} `{source}` comes from the variable `{variable}`, which is not set"
                    );
                    let hint = format!("set `{variable}` for the agent");
                    log.problem(Problem::new(known[source].place.clone(), message).hint(hint));
                }
                Some(_) => {}
            }
        }
    }
}

fn undeclared<'a>(
    service: &str,
    kind: &str,
    wanted: &str,
    place: &Place,
    known: impl Iterator<Item = &'a String>,
    log: &mut Log,
) {
    let message = format!("`{service}` uses the {kind} `{wanted}`, which is not declared");
    let hint = match suggest::nearest(wanted, known.map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("declare it under the top-level `{kind}s`"),
    };
    log.problem(Problem::new(place.clone(), message).hint(hint));
}

fn unique_names(project: &Project, log: &mut Log) {
    let mut seen: Vec<(&str, &Service)> = Vec::new();
    for service in project.services.values() {
        let Some(name) = service.container_name.as_deref() else { continue };
        match seen.iter().find(|(known, _)| *known == name) {
            Some((_, other)) => {
                let message = format!(
                    "`{}` and `{}` both have the `container_name` `{name}`",
                    other.name, service.name
                );
                log.problem(Problem::new(service.place.clone(), message));
            }
            None => seen.push((name, service)),
        }
    }
}

/// Takes out what no service uses: the engine need not make it.
fn prune(project: &mut Project) {
    let Project { services, networks, volumes, secrets, configs, .. } = project;
    let services = || services.values();
    networks.retain(|key, _| services().any(|service| service.networks.contains_key(key)));
    volumes.retain(|key, _| {
        let used = |source: &MountSource| matches!(source, MountSource::Volume(name) if name == key);
        services().any(|service| service.volumes.iter().any(|mount| used(&mount.source)))
    });
    secrets
        .retain(|key, _| services().any(|service| service.secrets.iter().any(|grant| grant.source == *key)));
    configs
        .retain(|key, _| services().any(|service| service.configs.iter().any(|grant| grant.source == *key)));
}
