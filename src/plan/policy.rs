//! What a repository may ask of the machine. The default is nothing: a refused stack names file, line and rule.

use std::collections::BTreeSet;

use crate::model::place::Place;
use crate::model::problem::Problem;
use crate::model::project::{FileContent, FileObject, MountSource, Project, Service};

/// What the operator allows, from `[policy]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub privileged: bool,
    pub docker_socket: bool,
    pub host_namespaces: bool,
    /// Host paths that may be mounted, with everything below them.
    pub host_paths: Vec<String>,
    pub capabilities: BTreeSet<String>,
    pub devices: BTreeSet<String>,
}

const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// Every breach of the policy in a project; empty when there is none.
pub fn breaches(project: &Project, policy: &Policy) -> Vec<Problem> {
    let services = project.services.values().flat_map(|service| of_service(service, policy));
    let objects = project.secrets.iter().map(|entry| ("secret", entry));
    let objects = objects.chain(project.configs.iter().map(|entry| ("config", entry)));
    services
        .chain(objects.filter_map(|(kind, (name, object))| of_object(kind, name, object, policy)))
        .collect()
}

/// A secret or config read from a host file would hand that file to whoever can push.
fn of_object(kind: &str, name: &str, object: &FileObject, policy: &Policy) -> Option<Problem> {
    let FileContent::Host(path) = &object.content else { return None };
    let allowed = policy.host_paths.iter().any(|allowed| within(path, allowed));
    (!allowed).then(|| {
        Problem::new(&object.place, format!("the {kind} {name} reads the host's {path}, which the policy does not allow"))
            .hint(format!("the operator can allow it with `allow_host_paths = [\"{path}\"]` under [policy] of the configuration"))
    })
}

fn of_service(service: &Service, policy: &Policy) -> Vec<Problem> {
    let name = &service.name;
    let mut found = Vec::new();
    let mut refuse = |place: &Place, what: String, rule: &str| {
        found
            .push(Problem::new(place, format!("{name} {what}, which the policy does not allow")).hint(
                format!("the operator can allow it with `{rule}` under [policy] of the configuration"),
            ));
    };
    if service.privileged && !policy.privileged {
        refuse(&service.place, "is privileged".into(), "allow_privileged = true");
    }
    let modes = [&service.network_mode, &service.pid, &service.ipc];
    if modes.into_iter().flatten().any(|mode| mode == "host") && !policy.host_namespaces {
        refuse(&service.place, "uses a namespace of the host".into(), "allow_host_network = true");
    }
    for capability in &service.cap_add {
        let plain = capability.trim_start_matches("CAP_").to_ascii_uppercase();
        if !policy.capabilities.contains(&plain) {
            refuse(
                &service.place,
                format!("adds the capability {plain}"),
                &format!("allow_capabilities = [\"{plain}\"]"),
            );
        }
    }
    for device in &service.devices {
        let host = device.source.as_str();
        if !policy.devices.iter().any(|allowed| within(host, allowed)) {
            refuse(
                &device.place,
                format!("uses the device {host}"),
                &format!("allow_devices = [\"{host}\"]"),
            );
        }
    }
    for option in &service.security_opt {
        if !option.starts_with("no-new-privileges") && !policy.privileged {
            refuse(&service.place, format!("sets security_opt {option}"), "allow_privileged = true");
        }
    }
    for mount in &service.volumes {
        let MountSource::Host(path) = &mount.source else { continue };
        if exposes_socket(path) {
            if !policy.docker_socket {
                let what = format!("mounts {path}, through which it could reach the Docker socket");
                refuse(&mount.place, what, "allow_docker_socket = true");
            }
        } else if !policy.host_paths.iter().any(|allowed| within(path, allowed)) {
            refuse(
                &mount.place,
                format!("mounts the host's {path}"),
                &format!("allow_host_paths = [\"{path}\"]"),
            );
        }
    }
    found
}

/// A folder above the socket gives the socket.
fn exposes_socket(path: &str) -> bool {
    SOCKETS.iter().any(|socket| within(socket, path))
}

/// `..` could climb out of an allowed folder, so a path that holds it is within nothing.
fn within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let climbs = path.split('/').any(|part| part == "..");
    !climbs && path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::project::{Device, Mount, MountOptions};

    fn host(path: &str) -> Mount {
        Mount {
            place: Place::new("compose.yaml", 7, 9),
            source: MountSource::Host(path.into()),
            target: "/x".into(),
            read_only: true,
            options: MountOptions::default(),
        }
    }

    fn project(service: Service) -> Project {
        let service = Service { name: "web".into(), ..service };
        Project { services: [("web".to_owned(), service)].into(), ..Project::default() }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let service = Service {
            privileged: true,
            network_mode: Some("host".into()),
            cap_add: vec!["CAP_SYS_ADMIN".into()],
            devices: vec![Device {
                place: Place::default(),
                source: "/dev/fuse".into(),
                target: "/dev/fuse".into(),
                permissions: "rwm".into(),
            }],
            security_opt: vec!["seccomp:unconfined".into()],
            volumes: vec![host("/etc"), host("/var/run/docker.sock"), host("/run"), host("/")],
            ..Service::default()
        };
        let found = breaches(&project(service), &Policy::default());
        assert_eq!(found.len(), 9, "{found:#?}");
        assert!(found[5].to_string().starts_with("compose.yaml:7:9: web mounts the host's /etc"));
    }

    #[test]
    fn an_allowed_folder_allows_what_is_below_and_nothing_beside() {
        let policy = Policy { host_paths: vec!["/srv/data".into()], ..Policy::default() };
        for (path, fine) in
            [("/srv/data", true), ("/srv/data/a", true), ("/srv/database", false), ("/srv/data/../x", false)]
        {
            let service = Service { volumes: vec![host(path)], ..Service::default() };
            assert_eq!(breaches(&project(service), &policy).is_empty(), fine, "{path}");
        }
    }
}
