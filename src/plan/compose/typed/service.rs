//! One service.

use std::collections::BTreeMap;

use super::super::problem::{Log, Problem};
use super::super::tree::{Entry, Node, Value};
use super::{Reader, build, deploy, each, items, key_places, mount};
use crate::model::project::{
    Attachment, Condition, Dependency, Device, FileGrant, Healthcheck, Logging, Port, Service, Ulimit,
};

pub(super) fn read(name: &str, entry: &Entry, log: &mut Log) -> Option<Service> {
    let reader = Reader::new(&entry.node, format!("services.{name}"));
    if entry.node.is_null() {
        let problem = Problem::new(entry.key.clone(), format!("the service `{name}` is empty"));
        log.problem(problem.hint("give it an `image` or a `build`"));
        return None;
    }
    let mut service = Service { name: name.to_owned(), place: entry.key.clone(), ..Service::default() };
    container(&mut service, &reader, log);
    network(&mut service, &reader, log);
    limits(&mut service, &reader, log);
    service.build = reader.inner("build").and_then(|reader| build::read(&reader, log));
    service.deploy = reader.inner("deploy").map(|reader| deploy::read(&reader, log));
    service.healthcheck = reader.inner("healthcheck").map(|reader| healthcheck(&reader, log));
    service.depends_on = dependencies(&service, &reader);
    service.volumes = items(reader.get("volumes"))
        .iter()
        .filter_map(|node| mount::read(&Reader::new(node, format!("services.{name}.volumes")), log))
        .collect();
    service.secrets = grants(&reader, "secrets", "/run/secrets/", log);
    service.configs = grants(&reader, "configs", "/", log);
    service.scale = reader.number("scale", log);
    if let (Some(deploy), Some(scale)) = (&mut service.deploy, service.scale) {
        deploy.replicas = deploy.replicas.or(Some(scale));
    }
    Some(service)
}

/// What the process in the container is and sees.
fn container(service: &mut Service, reader: &Reader<'_>, log: &mut Log) {
    service.image = reader.text("image");
    service.pull_policy = reader.text("pull_policy");
    service.platform = reader.text("platform");
    service.command = reader.list("command");
    service.entrypoint = reader.list("entrypoint");
    service.environment = reader.pairs("environment");
    service.labels = reader.labels("labels");
    service.label_places = key_places(reader.get("labels").and_then(Node::as_map));
    service.container_name = reader.text("container_name");
    service.restart = reader.text("restart");
    service.profiles = reader.words("profiles");
    service.stop_signal = reader.text("stop_signal");
    service.stop_grace_period = reader.duration("stop_grace_period");
    service.user = reader.text("user");
    service.working_dir = reader.text("working_dir");
    service.init = reader.flag("init");
    service.tty = reader.is("tty");
    service.stdin_open = reader.is("stdin_open");
    service.tmpfs = reader.words("tmpfs");
    service.read_only = reader.is("read_only");
    service.privileged = reader.is("privileged");
    service.cap_add = reader.words("cap_add");
    service.cap_drop = reader.words("cap_drop");
    service.security_opt = reader.words("security_opt");
    service.group_add = reader.words("group_add");
    service.devices = items(reader.get("devices"))
        .iter()
        .filter_map(|node| device(&Reader::new(node, format!("{}.devices", reader.path)), log))
        .collect();
    service.logging = reader
        .inner("logging")
        .map(|reader| Logging { driver: reader.text("driver"), options: reader.labels("options") });
}

fn network(service: &mut Service, reader: &Reader<'_>, log: &mut Log) {
    service.ports = items(reader.get("ports"))
        .iter()
        .filter_map(|node| port(&Reader::new(node, format!("{}.ports", reader.path)), log))
        .collect();
    service.expose = reader.words("expose");
    service.network_mode = reader.text("network_mode");
    service.networks = each(reader.get("networks"))
        .map(|(name, entry)| {
            let path = format!("{}.networks.{name}", reader.path);
            (name.clone(), attachment(&Reader::new(&entry.node, path), log))
        })
        .collect();
    if service.networks.is_empty() && service.network_mode.is_none() {
        service.networks.insert("default".to_owned(), Attachment::default());
    }
    service.hostname = reader.text("hostname");
    service.domainname = reader.text("domainname");
    service.extra_hosts = reader.sorted("extra_hosts");
    service.dns = reader.words("dns");
    service.dns_search = reader.words("dns_search");
    service.dns_opt = reader.words("dns_opt");
    service.pid = reader.text("pid");
    service.ipc = reader.text("ipc");
}

fn limits(service: &mut Service, reader: &Reader<'_>, log: &mut Log) {
    service.ulimits = each(reader.get("ulimits"))
        .filter_map(|(name, entry)| Some((name.clone(), ulimit(&entry.node, reader, name, log)?)))
        .collect();
    service.sysctls = reader.labels("sysctls");
    service.shm_size = reader.number("shm_size", log);
    service.mem_limit = reader.number("mem_limit", log);
    service.mem_reservation = reader.number("mem_reservation", log);
    service.cpus = reader.float("cpus");
    service.pids_limit = reader.number("pids_limit", log);
    service.oom_score_adj = reader.number("oom_score_adj", log);
}

fn port(reader: &Reader<'_>, log: &mut Log) -> Option<Port> {
    if reader.get("target").is_none() {
        return reader.missing("target", log);
    }
    Some(Port {
        place: reader.node.place.clone(),
        target: reader.number("target", log)?,
        published: reader.text("published").filter(|published| !published.is_empty()),
        host_ip: reader.text("host_ip"),
        protocol: reader.text("protocol").unwrap_or_else(|| "tcp".to_owned()),
        mode: reader.text("mode").unwrap_or_else(|| "ingress".to_owned()),
    })
}

fn attachment(reader: &Reader<'_>, log: &mut Log) -> Attachment {
    Attachment {
        place: reader.node.place.clone(),
        aliases: reader.words("aliases"),
        ipv4_address: reader.text("ipv4_address"),
        ipv6_address: reader.text("ipv6_address"),
        mac_address: reader.text("mac_address"),
        priority: reader.number("priority", log).unwrap_or_default(),
    }
}

fn device(reader: &Reader<'_>, log: &mut Log) -> Option<Device> {
    Some(Device {
        place: reader.node.place.clone(),
        source: reader.required("source", log)?,
        target: reader.required("target", log)?,
        permissions: reader.text("permissions").unwrap_or_else(|| "rwm".to_owned()),
    })
}

fn ulimit(node: &Node, reader: &Reader<'_>, name: &str, log: &mut Log) -> Option<Ulimit> {
    let inner = Reader::new(node, format!("{}.ulimits.{name}", reader.path));
    if let Value::Int(both) = node.value {
        let both = i64::try_from(both).ok()?;
        return Some(Ulimit { soft: both, hard: both });
    }
    for key in ["soft", "hard"] {
        if inner.get(key).is_none() {
            return inner.missing(key, log);
        }
    }
    Some(Ulimit { soft: inner.number("soft", log)?, hard: inner.number("hard", log)? })
}

fn healthcheck(reader: &Reader<'_>, log: &mut Log) -> Healthcheck {
    let test = reader.words("test");
    if !matches!(test.first().map(String::as_str), None | Some("NONE" | "CMD" | "CMD-SHELL")) {
        let place = reader.get("test").map_or_else(|| reader.node.place.clone(), |node| node.place.clone());
        let message = format!("`{}.test` starts with `{}`", reader.path, test[0]);
        log.problem(Problem::new(place, message).hint("a list starts with `CMD`, `CMD-SHELL` or `NONE`"));
    }
    Healthcheck {
        disable: reader.is("disable"),
        test,
        interval: reader.duration("interval"),
        timeout: reader.duration("timeout"),
        start_period: reader.duration("start_period"),
        start_interval: reader.duration("start_interval"),
        retries: reader.number("retries", log),
    }
}

fn dependencies(service: &Service, reader: &Reader<'_>) -> BTreeMap<String, Dependency> {
    let mut out: BTreeMap<String, Dependency> = each(reader.get("depends_on"))
        .map(|(name, entry)| {
            let inner = Reader::new(&entry.node, format!("{}.depends_on.{name}", reader.path));
            let condition = match inner.text("condition").as_deref() {
                Some("service_healthy") => Condition::Healthy,
                Some("service_completed_successfully") => Condition::CompletedSuccessfully,
                _ => Condition::Started,
            };
            let dependency = Dependency {
                place: entry.key.clone(),
                condition,
                restart: inner.is("restart"),
                required: inner.flag("required").unwrap_or(true),
            };
            (name.clone(), dependency)
        })
        .collect();
    // Who shares a namespace of another service cannot be there before it, nor outlive it.
    for (key, mode) in [("network_mode", &service.network_mode), ("pid", &service.pid), ("ipc", &service.ipc)]
    {
        if let Some(name) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            let place = reader.get(key).map(|node| node.place.clone()).unwrap_or_default();
            out.entry(name.to_owned()).or_insert(Dependency {
                place,
                condition: Condition::Started,
                restart: true,
                required: true,
            });
        }
    }
    out
}

fn grants(reader: &Reader<'_>, key: &str, folder: &str, log: &mut Log) -> Vec<FileGrant> {
    let path = format!("{}.{key}", reader.path);
    items(reader.get(key))
        .iter()
        .filter_map(|node| {
            let reader = Reader::new(node, path.clone());
            let source = reader.required("source", log)?;
            let target = match reader.text("target") {
                Some(target) if target.starts_with('/') => target,
                Some(target) => format!("{folder}{target}"),
                None => format!("{folder}{source}"),
            };
            Some(FileGrant {
                place: node.place.clone(),
                source,
                target,
                uid: reader.text("uid"),
                gid: reader.text("gid"),
                mode: reader.number("mode", log),
            })
        })
        .collect()
}
