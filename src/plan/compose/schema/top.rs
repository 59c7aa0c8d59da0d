//! The top level of a file, and what is declared there beside services.

use super::Shape::{Bool, Many, Named, Pairs, Path, Text, Word};
use super::service::SERVICE;
use super::{Identity, Key, Object, Shape, Short, idle, key, no};

pub(in super::super) static TOP: Object = Object {
    title: "Top level",
    keys: &[
        idle("version", "it is obsolete: remove it"),
        key("name", Text),
        key("include", Many(Short::Key("path"), &INCLUDE, Identity::All)),
        key("services", Named(&Shape::Object(&SERVICE))),
        key("networks", Named(&Shape::Object(&NETWORK))),
        key("volumes", Named(&Shape::Object(&VOLUME))),
        key("secrets", Named(&Shape::Object(&SECRET))),
        key("configs", Named(&Shape::Object(&CONFIG))),
        no("models", "run the model as an ordinary service"),
    ],
};

static INCLUDE: Object = Object {
    title: "include",
    keys: &[
        key("path", Shape::Words { alone: true }),
        key("project_directory", Text),
        key("env_file", Shape::Words { alone: true }),
    ],
};

static NETWORK: Object = Object {
    title: "networks",
    keys: &[
        key("name", Text),
        key("external", Shape::Short(Short::External, &EXTERNAL)),
        key("driver", Text),
        key("driver_opts", Named(&Word)),
        key("internal", Bool),
        key("attachable", Bool),
        key("enable_ipv6", Bool),
        no("enable_ipv4", "IPv4 is always on"),
        key("labels", Pairs),
        key("ipam", Shape::Object(&IPAM)),
    ],
};

static EXTERNAL: Object = Object { title: "external", keys: &[key("name", Text), key("external", Bool)] };

static IPAM: Object = Object {
    title: "networks: ipam",
    keys: &[
        no("driver", "the engine's own address management is used"),
        key("config", Many(Short::None, &IPAM_POOL, Identity::By(&["subnet"]))),
        no("options", "the engine's own address management is used"),
    ],
};

static IPAM_POOL: Object = Object {
    title: "networks: ipam: config",
    keys: &[
        key("subnet", Text),
        key("gateway", Text),
        key("ip_range", Text),
        no("aux_addresses", "give the network a subnet and an `ip_range` that leaves these addresses out"),
    ],
};

static VOLUME: Object = Object {
    title: "volumes",
    keys: &[
        key("name", Text),
        key("external", Shape::Short(Short::External, &EXTERNAL)),
        key("driver", Text),
        key("driver_opts", Named(&Word)),
        key("labels", Pairs),
    ],
};

const NO_DRIVER: Key = no("driver", "secrets and configs come from a file, a variable or the text itself");
const NO_TEMPLATE: Key = no("template_driver", "templates are not filled in; use variables");
const NO_OPTIONS: Key =
    no("driver_opts", "secrets and configs come from a file, a variable or the text itself");
const NO_LABELS: Key = no("labels", "secrets and configs are files for a container and carry no labels");
const NO_NAME: Key = no("name", "secrets and configs live in the project and need no name of their own");
const NO_EXTERNAL: Key = no("external", "name a `file` or an `environment` variable as its source");

static SECRET: Object = Object {
    title: "secrets",
    keys: &[
        key("file", Path),
        key("environment", Text),
        no("content", "a secret in the repository is none; use `file` or `environment`"),
        NO_NAME,
        NO_EXTERNAL,
        NO_LABELS,
        NO_DRIVER,
        NO_OPTIONS,
        NO_TEMPLATE,
    ],
};

static CONFIG: Object = Object {
    title: "configs",
    keys: &[
        key("file", Path),
        key("environment", Text),
        key("content", Text),
        NO_NAME,
        NO_EXTERNAL,
        NO_LABELS,
        NO_DRIVER,
        NO_OPTIONS,
        NO_TEMPLATE,
    ],
};
