//! One service as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Object, repository};
use crate::model::project::{
    Attachment, Build, Condition, Dependency, Deploy, FileGrant, Healthcheck, Logging, Mount, MountSource,
    Port, Resources, Service, Ulimit,
};

pub(super) fn service(_: &str, service: &Service) -> Value {
    let mut out = Object::default();
    container(&mut out, service);
    network(&mut out, service);
    limits(&mut out, service);
    out.some("build", service.build.as_ref().map(build));
    out.some("deploy", service.deploy.as_ref().map(deploy));
    out.some("healthcheck", service.healthcheck.as_ref().map(healthcheck));
    out.section("depends_on", &service.depends_on, |_, dependency| show_dependency(dependency));
    out.list("volumes", &service.volumes.iter().map(mount).collect::<Vec<_>>());
    out.list("secrets", &grants(&service.secrets, None));
    out.list("configs", &grants(&service.configs, Some("/")));
    out.some("scale", service.scale);
    out.done()
}

fn container(out: &mut Object, service: &Service) {
    out.some("image", service.image.as_ref());
    out.some("pull_policy", service.pull_policy.as_ref());
    out.some("platform", service.platform.as_ref());
    // These two are always there: null is the image's own.
    out.set("command", json!(service.command));
    out.set("entrypoint", json!(service.entrypoint));
    out.map("environment", &service.environment);
    out.map("labels", &service.labels);
    out.some("container_name", service.container_name.as_ref());
    out.some("restart", service.restart.as_ref());
    out.list("profiles", &service.profiles);
    out.some("stop_signal", service.stop_signal.as_ref());
    out.duration("stop_grace_period", service.stop_grace_period);
    out.some("user", service.user.as_ref());
    out.some("working_dir", service.working_dir.as_ref());
    out.some("init", service.init);
    out.flag("tty", service.tty);
    out.flag("stdin_open", service.stdin_open);
    out.list("tmpfs", &service.tmpfs);
    out.flag("read_only", service.read_only);
    out.flag("privileged", service.privileged);
    out.list("cap_add", &service.cap_add);
    out.list("cap_drop", &service.cap_drop);
    out.list("security_opt", &service.security_opt);
    out.list("group_add", &service.group_add);
    let devices: Vec<Value> = service
        .devices
        .iter()
        .map(|device| json!({"source": device.source, "target": device.target, "permissions": device.permissions}))
        .collect();
    out.list("devices", &devices);
    out.some("logging", service.logging.as_ref().map(logging));
}

fn network(out: &mut Object, service: &Service) {
    out.list("ports", &service.ports.iter().map(port).collect::<Vec<_>>());
    out.list("expose", &service.expose);
    out.some("network_mode", service.network_mode.as_ref());
    out.section("networks", &service.networks, |_, attachment| show_attachment(attachment));
    out.some("hostname", service.hostname.as_ref());
    out.some("domainname", service.domainname.as_ref());
    out.list("extra_hosts", &service.extra_hosts);
    out.list("dns", &service.dns);
    out.list("dns_search", &service.dns_search);
    out.list("dns_opt", &service.dns_opt);
    out.some("pid", service.pid.as_ref());
    out.some("ipc", service.ipc.as_ref());
}

fn limits(out: &mut Object, service: &Service) {
    let ulimit = |limit: &Ulimit| match limit {
        Ulimit { soft, hard } if soft == hard => json!(soft),
        Ulimit { soft, hard } => json!({"soft": soft, "hard": hard}),
    };
    out.section("ulimits", &service.ulimits, |_, limit| ulimit(limit));
    out.map("sysctls", &service.sysctls);
    out.size("shm_size", service.shm_size);
    out.size("mem_limit", service.mem_limit);
    out.size("mem_reservation", service.mem_reservation);
    out.some("cpus", service.cpus);
    out.some("pids_limit", service.pids_limit);
    out.some("oom_score_adj", service.oom_score_adj);
}

fn build(build: &Build) -> Value {
    let mut out = Object::default();
    out.set("context", repository(&build.context));
    match &build.dockerfile_inline {
        Some(text) => out.set("dockerfile_inline", text),
        None => out.set("dockerfile", build.dockerfile.as_deref().unwrap_or("Dockerfile")),
    }
    out.map("args", &build.args);
    out.some("target", build.target.as_ref());
    out.map("labels", &build.labels);
    out.list("cache_from", &build.cache_from);
    out.some("network", build.network.as_ref());
    out.size("shm_size", build.shm_size);
    out.list("extra_hosts", &build.extra_hosts);
    out.flag("pull", build.pull);
    out.flag("no_cache", build.no_cache);
    out.list("tags", &build.tags);
    out.done()
}

fn deploy(deploy: &Deploy) -> Value {
    let mut out = Object::default();
    out.some("mode", deploy.mode.as_ref());
    out.some("replicas", deploy.replicas);
    out.map("labels", &deploy.labels);
    if let Some(update) = &deploy.update_config {
        let mut inner = Object::default();
        inner.some("parallelism", update.parallelism);
        inner.duration("delay", update.delay);
        inner.some("failure_action", update.failure_action.as_ref());
        inner.duration("monitor", update.monitor);
        inner.some("max_failure_ratio", update.max_failure_ratio);
        inner.some("order", update.order.as_ref());
        out.set("update_config", inner.done());
    }
    let mut inner = Object::default();
    inner.some("limits", deploy.limits.as_ref().map(resources));
    inner.some("reservations", deploy.reservations.as_ref().map(resources));
    out.set("resources", inner.done());
    if let Some(policy) = &deploy.restart_policy {
        let mut inner = Object::default();
        inner.some("condition", policy.condition.as_ref());
        inner.duration("delay", policy.delay);
        inner.some("max_attempts", policy.max_attempts);
        inner.duration("window", policy.window);
        out.set("restart_policy", inner.done());
    }
    out.set("placement", json!({}));
    out.done()
}

fn resources(resources: &Resources) -> Value {
    let mut out = Object::default();
    out.some("cpus", resources.cpus);
    out.size("memory", resources.memory);
    out.some("pids", resources.pids);
    out.done()
}

fn healthcheck(health: &Healthcheck) -> Value {
    let mut out = Object::default();
    out.list("test", &health.test);
    out.duration("interval", health.interval);
    out.duration("timeout", health.timeout);
    out.duration("start_period", health.start_period);
    out.duration("start_interval", health.start_interval);
    out.some("retries", health.retries);
    out.flag("disable", health.disable);
    out.done()
}

fn show_dependency(dependency: &Dependency) -> Value {
    let mut out = Object::default();
    out.set(
        "condition",
        match dependency.condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::CompletedSuccessfully => "service_completed_successfully",
        },
    );
    out.flag("restart", dependency.restart);
    out.set("required", dependency.required);
    out.done()
}

fn mount(mount: &Mount) -> Value {
    let mut out = Object::default();
    let options = &mount.options;
    let mut inner = Object::default();
    let kind = match &mount.source {
        MountSource::Repository(_) | MountSource::Host(_) => {
            inner.some("propagation", options.propagation.as_ref());
            inner.some("selinux", options.selinux.as_ref());
            inner.flag("create_host_path", options.create_host_path);
            "bind"
        }
        MountSource::Volume(_) | MountSource::Anonymous => {
            inner.flag("nocopy", options.nocopy);
            inner.some("subpath", options.subpath.as_ref());
            "volume"
        }
        MountSource::Tmpfs => {
            inner.size("size", options.tmpfs_size);
            inner.some("mode", options.tmpfs_mode);
            "tmpfs"
        }
    };
    match &mount.source {
        MountSource::Repository(path) => out.set("source", repository(path)),
        MountSource::Host(path) => out.set("source", path),
        MountSource::Volume(name) => out.set("source", name),
        MountSource::Anonymous | MountSource::Tmpfs => {}
    }
    out.set("type", kind);
    out.set("target", &mount.target);
    out.flag("read_only", mount.read_only);
    if !inner.0.is_empty() {
        out.set(kind, inner.done());
    }
    out.done()
}

/// `folder`: where a grant without a target lands; the reference leaves such a target out.
fn grants(grants: &[FileGrant], folder: Option<&str>) -> Vec<Value> {
    let show = |grant: &FileGrant| {
        let mut out = Object::default();
        out.set("source", &grant.source);
        let implied = folder.map(|folder| format!("{folder}{}", grant.source));
        if implied.as_ref() != Some(&grant.target) {
            out.set("target", &grant.target);
        }
        out.some("uid", grant.uid.as_ref());
        out.some("gid", grant.gid.as_ref());
        out.some("mode", grant.mode.map(|mode| format!("0{mode:o}")));
        out.done()
    };
    grants.iter().map(show).collect()
}

fn port(port: &Port) -> Value {
    let mut out = Object::default();
    out.set("mode", &port.mode);
    out.some("host_ip", port.host_ip.as_ref());
    out.set("target", port.target);
    out.some("published", port.published.as_ref());
    out.set("protocol", &port.protocol);
    out.done()
}

fn show_attachment(attachment: &Attachment) -> Value {
    let mut out = Object::default();
    out.list("aliases", &attachment.aliases);
    out.some("ipv4_address", attachment.ipv4_address.as_ref());
    out.some("ipv6_address", attachment.ipv6_address.as_ref());
    out.some("mac_address", attachment.mac_address.as_ref());
    out.some("priority", Some(attachment.priority).filter(|priority| *priority != 0));
    if out.0.is_empty() { Value::Null } else { out.done() }
}

fn logging(logging: &Logging) -> Value {
    let mut out = Object::default();
    out.some("driver", logging.driver.as_ref());
    let options: &BTreeMap<String, String> = &logging.options;
    out.map("options", options);
    out.done()
}
