//! A service and everything inside it but `deploy`.

use super::Shape::{
    Bool, Bytes, Command, Duration, Float, Hosts, Int, Many, Mode, Named, Names, OneOf, Pairs, Path, Text,
    Word, Words,
};
use super::deploy::DEPLOY;
use super::{Identity, Key, Object, Shape, Short, idle, key, no};

const WINDOWS: &str = "it is for Windows containers";
const LIMITS: &str = "use `cpus`, `mem_limit`, `pids_limit` or `deploy.resources`";
const ALIASES: &str =
    "services of one network reach each other by name; for another name use `networks.NAME.aliases`";

pub(in super::super) static SERVICE: Object = Object {
    title: "services",
    keys: &[
        no("annotations", "use `labels`"),
        idle("attach", "logs are kept for every service"),
        no("blkio_config", LIMITS),
        key("build", Shape::Short(Short::Key("context"), &BUILD)),
        key("cap_add", Words { alone: false }),
        key("cap_drop", Words { alone: false }),
        no("cgroup", "every container has a control group of its own"),
        no("cgroup_parent", LIMITS),
        key("command", Command),
        key("configs", Many(Short::Key("source"), &GRANT, Identity::Target("/"))),
        key("container_name", Text),
        no("cpu_count", WINDOWS),
        no("cpu_percent", WINDOWS),
        no("cpu_period", LIMITS),
        no("cpu_quota", LIMITS),
        no("cpu_rt_period", LIMITS),
        no("cpu_rt_runtime", LIMITS),
        no("cpu_shares", LIMITS),
        key("cpus", Float),
        no("cpuset", LIMITS),
        no("credential_spec", WINDOWS),
        key("depends_on", Names(&DEPENDENCY, &[("condition", "service_started"), ("required", "true")])),
        key("deploy", Shape::Object(&DEPLOY)),
        idle("develop", "it is for `docker compose watch`"),
        no("device_cgroup_rules", "use `devices`"),
        key("devices", Many(Short::Device, &DEVICE, Identity::By(&["target"]))),
        key("dns", Words { alone: true }),
        key("dns_opt", Words { alone: false }),
        key("dns_search", Words { alone: true }),
        key("domainname", Text),
        key("entrypoint", Command),
        key("env_file", Shape::OneOrMany(Short::Key("path"), &ENV_FILE, Identity::By(&["path"]))),
        key("environment", Pairs),
        key("expose", Words { alone: false }),
        key("extends", Shape::Short(Short::Key("service"), &EXTENDS)),
        no("external_links", ALIASES),
        key("extra_hosts", Hosts),
        no("gpus", "services with graphics processors are not run"),
        key("group_add", Words { alone: false }),
        key("healthcheck", Shape::Object(&HEALTHCHECK)),
        key("hostname", Text),
        key("image", Text),
        key("init", Bool),
        key("ipc", Text),
        no("isolation", WINDOWS),
        no("label_file", "use `labels`"),
        key("labels", Pairs),
        no("links", ALIASES),
        key("logging", Shape::Object(&LOGGING)),
        no("mac_address", "use `networks.NAME.mac_address`"),
        key("mem_limit", Bytes),
        key("mem_reservation", Bytes),
        no("mem_swappiness", LIMITS),
        no("memswap_limit", LIMITS),
        no("models", "run the model as an ordinary service"),
        key("network_mode", Text),
        key("networks", Names(&ATTACHMENT, &[])),
        no("oom_kill_disable", "use `oom_score_adj`"),
        key("oom_score_adj", Int),
        key("pid", Text),
        key("pids_limit", Int),
        key("platform", Text),
        key("ports", Many(Short::Port, &PORT, Identity::Port)),
        no("post_start", "do it in the image's entrypoint, or in a service of its own that others depend on"),
        no("pre_stop", "do it when the program is told to stop (`stop_signal`)"),
        key("privileged", Bool),
        key("profiles", Words { alone: false }),
        no("provider", "every service is a container here"),
        key("pull_policy", Text),
        no("pull_refresh_after", "use `pull_policy`"),
        key("read_only", Bool),
        key("restart", Text),
        no("runtime", "containers run with the engine's default runtime"),
        key("scale", Int),
        key("secrets", Many(Short::Key("source"), &GRANT, Identity::Target("/run/secrets/"))),
        key("security_opt", Words { alone: false }),
        key("shm_size", Bytes),
        key("stdin_open", Bool),
        key("stop_grace_period", Duration),
        key("stop_signal", Text),
        no("storage_opt", "limit disk use with `tmpfs` or a volume"),
        key("sysctls", Pairs),
        key("tmpfs", Words { alone: true }),
        key("tty", Bool),
        key("ulimits", Named(&Shape::Ulimit(&ULIMIT))),
        no("use_api_socket", "a service has no access to the engine"),
        key("user", Text),
        no("userns_mode", "set user namespaces on the engine"),
        no("uts", "every container has a host name of its own: `hostname`"),
        key("volumes", Many(Short::Mount, &MOUNT, Identity::By(&["target"]))),
        no("volumes_from", "name the volumes under `volumes`"),
        key("working_dir", Text),
    ],
};

const NO_CACHE_TO: Key = no("cache_to", "the engine keeps the build cache");
const NO_BUILDER: &str = "images are built by the machine's own engine for itself";

static BUILD: Object = Object {
    title: "services: build",
    keys: &[
        no("additional_contexts", "copy from an image with `COPY --from`, or widen the context"),
        key("args", Pairs),
        key("cache_from", Words { alone: false }),
        NO_CACHE_TO,
        key("context", Path),
        key("dockerfile", Text),
        key("dockerfile_inline", Text),
        no("entitlements", NO_BUILDER),
        key("extra_hosts", Hosts),
        no("isolation", WINDOWS),
        key("labels", Pairs),
        key("network", Text),
        key("no_cache", Bool),
        no("platforms", NO_BUILDER),
        no("privileged", NO_BUILDER),
        no("provenance", NO_BUILDER),
        key("pull", Bool),
        no("sbom", NO_BUILDER),
        no("secrets", "a build sees only its context and `args`"),
        key("shm_size", Bytes),
        no("ssh", "a build sees only its context and `args`"),
        key("tags", Words { alone: false }),
        key("target", Text),
        no("ulimits", "set them on the engine"),
    ],
};

static DEPENDENCY: Object = Object {
    title: "services: depends_on",
    keys: &[
        key("condition", OneOf(&["service_started", "service_healthy", "service_completed_successfully"])),
        key("required", Bool),
        key("restart", Bool),
    ],
};

static DEVICE: Object = Object {
    title: "services: devices",
    keys: &[key("source", Text), key("target", Text), key("permissions", Text)],
};

static ENV_FILE: Object = Object {
    title: "services: env_file",
    keys: &[key("path", Path), key("required", Bool), key("format", OneOf(&["raw"]))],
};

static EXTENDS: Object =
    Object { title: "services: extends", keys: &[key("service", Text), key("file", Text)] };

static GRANT: Object = Object {
    title: "services: secrets, configs",
    keys: &[key("source", Text), key("target", Text), key("uid", Text), key("gid", Text), key("mode", Mode)],
};

static HEALTHCHECK: Object = Object {
    title: "services: healthcheck",
    keys: &[
        key("disable", Bool),
        key("interval", Duration),
        key("retries", Int),
        key("start_interval", Duration),
        key("start_period", Duration),
        key("test", Shape::Test),
        key("timeout", Duration),
    ],
};

pub(in super::super) static LOGGING: Object =
    Object { title: "services: logging", keys: &[key("driver", Text), key("options", Named(&Word))] };

static ATTACHMENT: Object = Object {
    title: "services: networks",
    keys: &[
        key("aliases", Words { alone: false }),
        no("driver_opts", "set options on the network itself"),
        no("gw_priority", "use `priority`"),
        no("interface_name", "the engine names interfaces"),
        key("ipv4_address", Text),
        key("ipv6_address", Text),
        no("link_local_ips", "use `ipv4_address` or `ipv6_address`"),
        key("mac_address", Text),
        key("priority", Int),
    ],
};

static PORT: Object = Object {
    title: "services: ports",
    keys: &[
        no("app_protocol", "what is spoken on a port is said by the routes"),
        key("host_ip", Text),
        key("mode", OneOf(&["host", "ingress"])),
        no("name", "ports have numbers here"),
        key("protocol", OneOf(&["tcp", "udp"])),
        key("published", Word),
        key("target", Int),
    ],
};

static ULIMIT: Object = Object { title: "services: ulimits", keys: &[key("soft", Int), key("hard", Int)] };

static MOUNT: Object = Object {
    title: "services: volumes",
    keys: &[
        key("bind", Shape::Object(&BIND)),
        idle("consistency", "it had a meaning on Docker Desktop only"),
        no("image", "copy the files into the image with `COPY --from`"),
        key("read_only", Bool),
        key("source", Text),
        key("target", Text),
        key("tmpfs", Shape::Object(&TMPFS)),
        key("type", OneOf(&["bind", "volume", "tmpfs"])),
        key("volume", Shape::Object(&VOLUME_OPTIONS)),
    ],
};

static BIND: Object = Object {
    title: "services: volumes: bind",
    keys: &[
        key("create_host_path", Bool),
        key("propagation", OneOf(&["private", "rprivate", "shared", "rshared", "slave", "rslave"])),
        no("recursive", "the engine's default is used"),
        key("selinux", OneOf(&["z", "Z"])),
    ],
};

static VOLUME_OPTIONS: Object = Object {
    title: "services: volumes: volume",
    keys: &[
        no("labels", "label the volume under the top-level `volumes`"),
        key("nocopy", Bool),
        key("subpath", Text),
    ],
};

static TMPFS: Object =
    Object { title: "services: volumes: tmpfs", keys: &[key("mode", Mode), key("size", Bytes)] };
