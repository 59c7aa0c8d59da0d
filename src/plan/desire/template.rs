//! From one compose service to the template of its instances. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::instance::{
    HealthSpec, ImageRef, MountSpec, NetworkUse, PublishedPort, RestartSpec, Template,
};
use crate::model::problem::Problem;
use crate::model::project::{FileGrant, Healthcheck, Mount, MountSource, Port, Project, Service};

use super::{Facts, object_key};

/// Where nginx finds what the agent writes for it.
const PROXY_TARGET: &str = "/etc/nginx/agent";
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn template(
    project: &Project,
    service: &Service,
    one_shot: bool,
    proxy: bool,
    facts: &Facts<'_>,
) -> Result<Template, Vec<Problem>> {
    let mut problems = reserved_labels(service);
    let mut keep = |result: Result<MountSpec, Problem>| result.map_err(|problem| problems.push(problem)).ok();
    let mut mounts: Vec<MountSpec> =
        service.volumes.iter().filter_map(|mount| keep(mount_spec(project, mount, facts))).collect();
    mounts.extend(service.tmpfs.iter().map(|text| tmpfs(text)));
    mounts.extend(service.secrets.iter().filter_map(|grant| keep(object("secret", service, grant, facts))));
    mounts.extend(service.configs.iter().filter_map(|grant| keep(object("config", service, grant, facts))));
    if proxy {
        mounts.push(bind(facts.proxy_folder, PROXY_TARGET, true));
    }
    let (ports, wrong): (Vec<_>, Vec<_>) = service.ports.iter().map(port).partition(Result::is_ok);
    problems.extend(wrong.into_iter().filter_map(Result::err));
    if !problems.is_empty() {
        return Err(problems);
    }
    let deploy = service.deploy.clone().unwrap_or_default();
    let limits = deploy.limits.unwrap_or_default();
    let reservations = deploy.reservations.unwrap_or_default();
    let cpus = service.cpus.or(limits.cpus);
    let exposed = service
        .expose
        .iter()
        .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    Ok(Template {
        service: service.name.clone(),
        image: facts.images.get(&service.name).cloned().unwrap_or_else(|| ImageRef {
            name: service.image.clone().unwrap_or_default(),
            id: String::new(),
        }),
        command: service.command.clone().or_else(|| proxy.then(proxy_command)),
        entrypoint: service.entrypoint.clone(),
        environment: set_variables(service),
        labels: own_labels(service),
        ports: ports.into_iter().filter_map(Result::ok).collect(),
        exposed: exposed.collect(),
        mounts,
        networks: networks(project, service),
        network_mode: service.network_mode.clone(),
        healthcheck: service.healthcheck.as_ref().map(health),
        restart: restart(service, one_shot),
        stop_signal: service.stop_signal.clone(),
        stop_grace_seconds: service.stop_grace_period.unwrap_or(GRACE).as_secs_f64().ceil() as u32,
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        container_name: service.container_name.clone(),
        ulimits: service
            .ulimits
            .iter()
            .map(|(name, limit)| (name.clone(), (limit.soft, limit.hard)))
            .collect(),
        log_driver: service.logging.as_ref().and_then(|logging| logging.driver.clone()),
        log_options: service.logging.as_ref().map(|logging| logging.options.clone()).unwrap_or_default(),
        extra_hosts: service.extra_hosts.iter().map(|host| host.replacen('=', ":", 1)).collect(),
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_options: service.dns_opt.clone(),
        init: service.init,
        tty: service.tty,
        stdin_open: service.stdin_open,
        read_only: service.read_only,
        privileged: service.privileged,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        security_opt: service.security_opt.clone(),
        devices: service
            .devices
            .iter()
            .map(|d| format!("{}:{}:{}", d.source, d.target, d.permissions))
            .collect(),
        group_add: service.group_add.clone(),
        sysctls: service.sysctls.clone(),
        shm_size: service.shm_size,
        pid_mode: service.pid.clone(),
        ipc_mode: service.ipc.clone(),
        memory: service.mem_limit.or(limits.memory),
        memory_reservation: service.mem_reservation.or(reservations.memory),
        nano_cpus: cpus.map(|cpus| (cpus * 1e9) as i64),
        pids_limit: service.pids_limit.or(limits.pids),
        oom_score_adj: service.oom_score_adj,
        platform: service.platform.clone(),
        depends_on: service.depends_on.keys().cloned().collect(),
    })
}

fn proxy_command() -> Vec<String> {
    let config = format!("{PROXY_TARGET}/nginx.conf");
    ["nginx", "-c", &config, "-g", "daemon off;"].map(str::to_owned).into()
}

/// A variable that is passed through and not set is not there at all.
fn set_variables(service: &Service) -> BTreeMap<String, String> {
    let variables = service.environment.iter();
    variables.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
}

/// What the labels say to the agent is in routes and gates: a change of it needs no new container.
fn own_labels(service: &Service) -> BTreeMap<String, String> {
    let labels = service.labels.iter().filter(|(label, _)| !label.starts_with("agent."));
    labels.map(|(label, value)| (label.clone(), value.clone())).collect()
}

/// Labels by which the agent and compose know their own must not be forged by a repository.
fn reserved_labels(service: &Service) -> Vec<Problem> {
    let reserved = ["agent.stack", "agent.service", "agent.run", "agent.revision", "agent.fingerprint"];
    let forged = service
        .labels
        .keys()
        .filter(|label| label.starts_with("com.docker.compose.") || reserved.contains(&label.as_str()));
    forged
        .map(|label| {
            let place = service.label_places.get(label).unwrap_or(&service.place);
            Problem::new(place, format!("{}: the label {label} is set by the agent itself", service.name))
                .hint("take it out")
        })
        .collect()
}

fn mount_spec(project: &Project, mount: &Mount, facts: &Facts<'_>) -> Result<MountSpec, Problem> {
    let (target, read_only, options) = (mount.target.clone(), mount.read_only, &mount.options);
    if let Some(path) = &options.subpath {
        return Err(Problem::new(&mount.place, format!("volume.subpath ({path}) is not supported")));
    }
    Ok(match &mount.source {
        MountSource::Volume(key) => {
            let name = project.volumes.get(key).map_or_else(|| key.clone(), |volume| volume.name.clone());
            MountSpec::Volume { name: Some(name), target, read_only, nocopy: options.nocopy }
        }
        MountSource::Anonymous => MountSpec::Volume { name: None, target, read_only, nocopy: options.nocopy },
        MountSource::Tmpfs => MountSpec::Tmpfs { target, size: options.tmpfs_size, mode: options.tmpfs_mode },
        MountSource::Host(path) => MountSpec::Bind {
            source: path.clone(),
            target,
            read_only,
            propagation: options.propagation.clone(),
            selinux: options.selinux.clone(),
            create: options.create_host_path,
        },
        // What a release shows must stay what it was: the copy is shared and never written to.
        MountSource::Repository(path) => match facts.mounted.get(path) {
            Some(mounted) => bind(&mounted.path, &target, true),
            None => {
                let what = format!("`{path}` is not in the repository");
                return Err(Problem::new(&mount.place, what).hint("add it to Git, or mount a volume"));
            }
        },
    })
}

fn object(kind: &str, service: &Service, grant: &FileGrant, facts: &Facts<'_>) -> Result<MountSpec, Problem> {
    match facts.objects.get(&object_key(kind, &grant.source)) {
        Some(source) => Ok(bind(source, &grant.target, true)),
        None => {
            let what = format!("{}: the file of the {kind} {} is not there", service.name, grant.source);
            Err(Problem::new(&grant.place, what))
        }
    }
}

fn bind(source: &str, target: &str, read_only: bool) -> MountSpec {
    MountSpec::Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
        propagation: None,
        selinux: None,
        create: false,
    }
}

/// `/run` or `/run:size=64m,mode=1777`: options other than size and mode are the engine's defaults anyway.
fn tmpfs(text: &str) -> MountSpec {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let option =
        |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    MountSpec::Tmpfs {
        target: target.to_owned(),
        size: option("size").and_then(bytes),
        mode: option("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let shift = match unit.trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn port(port: &Port) -> Result<PublishedPort, Problem> {
    let host = match port.published.as_deref() {
        None | Some("" | "0") => None,
        Some(text) => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                let what = format!("the published port `{text}` is not one port");
                return Err(Problem::new(&port.place, what).hint("name each port by itself"));
            }
        },
    };
    let protocol = if port.protocol.is_empty() { "tcp".to_owned() } else { port.protocol.clone() };
    Ok(PublishedPort { container: port.target, host, host_ip: port.host_ip.clone(), protocol })
}

fn networks(project: &Project, service: &Service) -> Vec<NetworkUse> {
    let mut uses: Vec<_> = service.networks.iter().collect();
    // The first one gives the default route: the highest priority, then the name, as in compose.
    uses.sort_by_key(|(key, attachment)| (-attachment.priority, (*key).clone()));
    uses.into_iter()
        .map(|(key, attachment)| {
            let name = project.networks.get(key).map_or_else(|| key.clone(), |network| network.name.clone());
            let mut aliases = vec![service.name.clone()];
            aliases.extend(attachment.aliases.iter().filter(|alias| **alias != service.name).cloned());
            NetworkUse {
                network: name,
                aliases,
                address: attachment.ipv4_address.as_deref().and_then(|text| text.parse().ok()),
                mac_address: attachment.mac_address.clone(),
            }
        })
        .collect()
}

fn health(check: &Healthcheck) -> HealthSpec {
    let nanoseconds = |duration: Option<Duration>| duration.map_or(0, |d| d.as_nanos() as i64);
    let test = if check.disable { vec!["NONE".to_owned()] } else { check.test.clone() };
    HealthSpec {
        test,
        interval_ns: nanoseconds(check.interval),
        timeout_ns: nanoseconds(check.timeout),
        start_period_ns: nanoseconds(check.start_period),
        start_interval_ns: nanoseconds(check.start_interval),
        retries: check.retries.unwrap_or(0),
    }
}

/// A service that says nothing is always restarted: the site must come back after a reboot with the agent down.
/// Not `unless-stopped`: an engine that was killed takes all it finds running for stopped by a person. Who wants
/// compose's own default writes `restart: "no"`.
fn restart(service: &Service, one_shot: bool) -> RestartSpec {
    let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    let text = match (&service.restart, policy.and_then(|policy| policy.condition.as_deref())) {
        (Some(text), _) => text.as_str(),
        (None, Some("none")) => "no",
        (None, Some("on-failure")) => "on-failure",
        (None, Some(_)) => "always",
        (None, None) => "always",
    };
    let (name, retries) = text.split_once(':').unwrap_or((text, ""));
    // Restarting a one-shot service that failed would hide the failure from its gate.
    let name = if one_shot { "no" } else { name };
    let attempts = policy.and_then(|policy| policy.max_attempts).unwrap_or(0) as i64;
    let max_retries = if name == "on-failure" { retries.parse().unwrap_or(attempts) } else { 0 };
    RestartSpec { policy: name.to_owned(), max_retries }
}
