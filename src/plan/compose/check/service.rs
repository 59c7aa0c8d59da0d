//! Contradictions within one service.

use crate::model::project::Service;
use crate::plan::compose::problem::{Log, Problem};

pub(super) fn check(service: &Service, log: &mut Log) {
    let name = &service.name;
    let mut problem = |message: String, hint: &str| {
        log.problem(Problem::new(service.place.clone(), message).hint(hint));
    };
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        problem(format!("`{name}` cannot be the name of a service"), "use letters, digits, `.`, `_` and `-`");
    }
    if service.image.is_none() && service.build.is_none() {
        problem(format!("`{name}` has neither an `image` nor a `build`"), "give it one of them");
    }
    if service.network_mode.is_some() && !service.networks.is_empty() {
        problem(format!("`{name}` has both `network_mode` and `networks`"), "keep one of them");
    }
    if let Some(restart) = service.restart.as_deref().filter(|restart| !valid_restart(restart)) {
        let message = format!("`{name}` has the restart policy `{restart}`, which there is not");
        problem(message, "use `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`");
    }
    let deploy = service.deploy.as_ref();
    let replicas = deploy.and_then(|deploy| deploy.replicas);
    if disagree(service.scale, replicas) {
        problem(
            format!("`{name}` has different numbers in `scale` and `deploy.replicas`"),
            "keep one of them",
        );
    }
    if service.container_name.is_some() && service.scale.or(replicas).unwrap_or(1) > 1 {
        let message = format!("`{name}` has a `container_name` and more than one replica");
        problem(message, "a container's name is unique: remove one of the two");
    }
    let limits = deploy.and_then(|deploy| deploy.limits.as_ref());
    let reservations = deploy.and_then(|deploy| deploy.reservations.as_ref());
    let pairs = [
        (disagree(service.cpus, limits.and_then(|l| l.cpus)), "cpus", "limits.cpus"),
        (disagree(service.mem_limit, limits.and_then(|l| l.memory)), "mem_limit", "limits.memory"),
        (disagree(service.pids_limit, limits.and_then(|l| l.pids)), "pids_limit", "limits.pids"),
        (
            disagree(service.mem_reservation, reservations.and_then(|r| r.memory)),
            "mem_reservation",
            "reservations.memory",
        ),
    ];
    for (_, short, long) in pairs.iter().filter(|(disagree, ..)| *disagree) {
        let message = format!("`{name}` has different values in `{short}` and `deploy.resources.{long}`");
        problem(message, "keep one of them");
    }
    let health = service.healthcheck.as_ref();
    if health.is_some_and(|health| health.start_interval.is_some() && health.start_period.is_none()) {
        let message = format!("`{name}` has a `healthcheck.start_interval` without a `start_period`");
        problem(message, "give it a `start_period`: the interval holds during it");
    }
}

fn valid_restart(restart: &str) -> bool {
    match restart.split_once(':') {
        Some(("on-failure", times)) => times.parse::<u32>().is_ok(),
        Some(_) => false,
        None => matches!(restart, "no" | "always" | "unless-stopped" | "on-failure"),
    }
}

fn disagree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}
