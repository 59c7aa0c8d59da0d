//! `deploy`: what of it means something on one machine.

use super::Shape::{Bytes, Duration, Float, Int, OneOf, Pairs};
use super::{Object, Shape, idle, key, no};

const SWARM: &str = "it matters on a swarm only";

pub(super) static DEPLOY: Object = Object {
    title: "services: deploy",
    keys: &[
        idle("endpoint_mode", SWARM),
        key("labels", Pairs),
        key("mode", OneOf(&["replicated"])),
        idle("placement", SWARM),
        key("replicas", Int),
        key("resources", Shape::Object(&RESOURCES)),
        key("restart_policy", Shape::Object(&RESTART_POLICY)),
        idle("rollback_config", "what goes back goes back the way it came"),
        key("update_config", Shape::Object(&UPDATE_CONFIG)),
    ],
};

static RESOURCES: Object = Object {
    title: "services: deploy: resources",
    keys: &[key("limits", Shape::Object(&LIMITS)), key("reservations", Shape::Object(&RESERVATIONS))],
};

static LIMITS: Object = Object {
    title: "services: deploy: resources: limits",
    keys: &[key("cpus", Float), key("memory", Bytes), key("pids", Int)],
};

static RESERVATIONS: Object = Object {
    title: "services: deploy: resources: reservations",
    keys: &[
        key("cpus", Float),
        no("devices", "services with graphics processors are not run"),
        no("generic_resources", SWARM),
        key("memory", Bytes),
        key("pids", Int),
    ],
};

static RESTART_POLICY: Object = Object {
    title: "services: deploy: restart_policy",
    keys: &[
        key("condition", OneOf(&["none", "on-failure", "any"])),
        key("delay", Duration),
        key("max_attempts", Int),
        key("window", Duration),
    ],
};

static UPDATE_CONFIG: Object = Object {
    title: "services: deploy: update_config",
    keys: &[
        key("delay", Duration),
        key("failure_action", OneOf(&["continue", "pause", "rollback"])),
        key("max_failure_ratio", Float),
        key("monitor", Duration),
        key("order", OneOf(&["start-first", "stop-first"])),
        key("parallelism", Int),
    ],
};
