//! `deploy` of a service.

use super::super::problem::Log;
use super::Reader;
use crate::model::project::{Deploy, Resources, RestartPolicy, UpdateConfig};

pub(super) fn read(reader: &Reader<'_>, log: &mut Log) -> Deploy {
    let resources = reader.inner("resources");
    let limits = resources.as_ref().and_then(|resources| resources.inner("limits"));
    let reservations = resources.as_ref().and_then(|resources| resources.inner("reservations"));
    Deploy {
        mode: reader.text("mode"),
        replicas: reader.number("replicas", log),
        update_config: reader.inner("update_config").map(|reader| update_config(&reader, log)),
        limits: limits.map(|reader| read_resources(&reader, log)),
        reservations: reservations.map(|reader| read_resources(&reader, log)),
        restart_policy: reader.inner("restart_policy").map(|reader| RestartPolicy {
            condition: reader.text("condition"),
            max_attempts: reader.number("max_attempts", log),
            delay: reader.duration("delay"),
            window: reader.duration("window"),
        }),
        labels: reader.labels("labels"),
    }
}

fn update_config(reader: &Reader<'_>, log: &mut Log) -> UpdateConfig {
    UpdateConfig {
        place: reader.node.place.clone(),
        order: reader.text("order"),
        parallelism: reader.number("parallelism", log),
        delay: reader.duration("delay"),
        monitor: reader.duration("monitor"),
        failure_action: reader.text("failure_action"),
        max_failure_ratio: reader.float("max_failure_ratio"),
    }
}

fn read_resources(reader: &Reader<'_>, log: &mut Log) -> Resources {
    Resources {
        cpus: reader.float("cpus"),
        memory: reader.number("memory", log),
        pids: reader.number("pids", log),
    }
}
