//! The host's side of a container: mounts, ports, limits, rights. Pure.

use bollard::models::{
    DeviceMapping, HostConfig, HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountTmpfsOptions, MountType, MountVolumeOptions, PortBinding, PortMap, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::model::instance::{MountSpec, PublishedPort, RestartSpec, Template};

/// Everything but the network mode and the namespaces shared with other containers, which need a look at
/// what runs.
pub(super) fn config(template: &Template) -> HostConfig {
    HostConfig {
        port_bindings: Some(ports(&template.ports)),
        restart_policy: Some(restart(&template.restart)),
        log_config: logging(template),
        extra_hosts: some(&template.extra_hosts),
        dns: some(&template.dns),
        dns_search: some(&template.dns_search),
        dns_options: some(&template.dns_options),
        init: template.init,
        readonly_rootfs: Some(template.read_only),
        privileged: Some(template.privileged),
        cap_add: some(&template.cap_add),
        cap_drop: some(&template.cap_drop),
        security_opt: some(&template.security_opt),
        devices: Some(template.devices.iter().map(|device| self::device(device)).collect()),
        group_add: some(&template.group_add),
        sysctls: Some(template.sysctls.clone().into_iter().collect()),
        ulimits: Some(ulimits(template)),
        shm_size: template.shm_size.map(signed),
        memory: template.memory.map(signed),
        memory_reservation: template.memory_reservation.map(signed),
        nano_cpus: template.nano_cpus,
        pids_limit: template.pids_limit,
        oom_score_adj: template.oom_score_adj,
        ..mounts(&template.mounts)
    }
}

/// Mounts alone: also what a command run aside gets.
pub(super) fn mounts(specs: &[MountSpec]) -> HostConfig {
    HostConfig {
        mounts: Some(specs.iter().filter_map(mount).collect()),
        binds: Some(specs.iter().filter_map(bind).collect()),
        ..HostConfig::default()
    }
}

/// The newer form, which refuses a missing source rather than making a folder in its place.
fn mount(spec: &MountSpec) -> Option<Mount> {
    Some(match spec {
        MountSpec::Volume { name, target, read_only, nocopy } => Mount {
            typ: Some(MountType::VOLUME),
            source: name.clone(),
            target: Some(target.clone()),
            read_only: Some(*read_only),
            volume_options: Some(MountVolumeOptions { no_copy: Some(*nocopy), ..Default::default() }),
            ..Default::default()
        },
        MountSpec::Bind { source, target, read_only, propagation, selinux: None, create: false } => Mount {
            typ: Some(MountType::BIND),
            source: Some(source.clone()),
            target: Some(target.clone()),
            read_only: Some(*read_only),
            bind_options: propagation
                .as_deref()
                .and_then(self::propagation)
                .map(|propagation| MountBindOptions { propagation: Some(propagation), ..Default::default() }),
            ..Default::default()
        },
        MountSpec::Bind { .. } => return None,
        MountSpec::Tmpfs { target, size, mode } => Mount {
            typ: Some(MountType::TMPFS),
            target: Some(target.clone()),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size.map(signed),
                mode: mode.map(i64::from),
                options: None,
            }),
            ..Default::default()
        },
    })
}

/// The older form, the only one in which every engine makes a missing source or relabels for SELinux.
fn bind(spec: &MountSpec) -> Option<String> {
    let MountSpec::Bind { source, target, read_only, propagation, selinux, create } = spec else {
        return None;
    };
    if selinux.is_none() && !create {
        return None;
    }
    let mode = if *read_only { "ro" } else { "rw" };
    let options = [Some(mode), propagation.as_deref(), selinux.as_deref()];
    let options: Vec<_> = options.into_iter().flatten().collect();
    Some(format!("{source}:{target}:{}", options.join(",")))
}

fn propagation(name: &str) -> Option<MountBindOptionsPropagationEnum> {
    name.parse().ok()
}

fn ports(ports: &[PublishedPort]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let bindings = map.entry(format!("{}/{}", port.container, port.protocol)).or_default();
        bindings.get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: Some(port.host.map(|port| port.to_string()).unwrap_or_default()),
        });
    }
    map
}

pub(super) fn restart(spec: &RestartSpec) -> RestartPolicy {
    let name = match spec.policy.as_str() {
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => RestartPolicyNameEnum::NO,
    };
    let retries = (name == RestartPolicyNameEnum::ON_FAILURE).then_some(spec.max_retries);
    RestartPolicy { name: Some(name), maximum_retry_count: retries }
}

/// Options without a driver are for the engine's own.
fn logging(template: &Template) -> Option<HostConfigLogConfig> {
    let given = template.log_driver.is_some() || !template.log_options.is_empty();
    given.then(|| HostConfigLogConfig {
        typ: template.log_driver.clone(),
        config: Some(template.log_options.clone().into_iter().collect()),
    })
}

/// `HOST[:CONTAINER[:rwm]]`.
fn device(text: &str) -> DeviceMapping {
    let mut parts = text.splitn(3, ':');
    let host = parts.next().unwrap_or_default();
    DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(parts.next().unwrap_or(host).to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

fn ulimits(template: &Template) -> Vec<ResourcesUlimits> {
    let one = |(name, (soft, hard)): (&String, &(i64, i64))| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    template.ulimits.iter().map(one).collect()
}

/// An empty list is "not said", which leaves the engine its defaults.
pub(super) fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(create: bool, selinux: Option<&str>) -> MountSpec {
        MountSpec::Bind {
            source: "/srv/a".to_owned(),
            target: "/a".to_owned(),
            read_only: true,
            propagation: Some("rslave".to_owned()),
            selinux: selinux.map(str::to_owned),
            create,
        }
    }

    #[test]
    fn a_bind_is_made_once_in_the_form_that_can_say_it() {
        let strict = mounts(&[folder(false, None)]);
        assert_eq!(strict.binds.unwrap(), Vec::<String>::new());
        let options = strict.mounts.unwrap().remove(0).bind_options.unwrap();
        assert_eq!(options.propagation, Some(MountBindOptionsPropagationEnum::RSLAVE));
        for (spec, text) in
            [(folder(true, None), "/srv/a:/a:ro,rslave"), (folder(false, Some("Z")), "/srv/a:/a:ro,rslave,Z")]
        {
            let made = mounts(&[spec]);
            assert_eq!(made.mounts.unwrap(), []);
            assert_eq!(made.binds.unwrap(), [text]);
        }
    }

    #[test]
    fn two_host_ports_may_lead_to_one_container_port() {
        let port = |host| PublishedPort { container: 80, host, host_ip: None, protocol: "tcp".to_owned() };
        let map = ports(&[port(Some(8080)), port(None)]);
        let bound: Vec<_> = map["80/tcp"].iter().flatten().map(|b| b.host_port.clone().unwrap()).collect();
        assert_eq!(bound, ["8080", ""]);
    }

    #[test]
    fn log_options_need_no_driver() {
        let option = || ("max-size".to_owned(), "10m".to_owned());
        let template = Template { log_options: [option()].into(), ..Template::default() };
        let made = HostConfigLogConfig { typ: None, config: Some([option()].into()) };
        assert_eq!(logging(&template), Some(made));
        assert_eq!(logging(&Template::default()), None);
    }

    #[test]
    fn a_device_is_completed() {
        let full = device("/dev/ttyS0:/dev/x:r");
        assert_eq!(full.path_in_container.as_deref(), Some("/dev/x"));
        assert_eq!(full.cgroup_permissions.as_deref(), Some("r"));
        assert_eq!(device("/dev/fuse").path_in_container.as_deref(), Some("/dev/fuse"));
    }
}
