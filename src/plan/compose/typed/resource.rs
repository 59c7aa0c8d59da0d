//! What stands beside services at the top level: networks, volumes, secrets, configs.

use super::super::assemble::VALUE;
use super::super::path;
use super::super::problem::{Log, Problem};
use super::super::tree::Entry;
use super::{Reader, items};
use crate::model::project::{FileContent, FileObject, IpamPool, Network, Volume};

pub(super) fn network(project: &str, key: &str, entry: &Entry, log: &mut Log) -> Network {
    let reader = Reader::new(&entry.node, format!("networks.{key}"));
    let (name, external) = named(project, key, &reader, log);
    let pools = pools(&reader);
    let (ipv6, ipv4): (Vec<&IpamPool>, Vec<&IpamPool>) = pools.iter().partition(|pool| pool.is_ipv6());
    if ipv6.len() > 1 || ipv4.len() > 1 {
        let message = format!("networks.{key}: it has several subnets of one kind");
        let hint = "leave one of IPv4 and one of IPv6 at most: a further network can have the other";
        log.problem(Problem::new(entry.key.clone(), message).hint(hint));
    }
    Network {
        place: entry.key.clone(),
        name,
        external,
        driver: reader.text("driver"),
        driver_opts: reader.labels("driver_opts"),
        internal: reader.is("internal"),
        attachable: reader.is("attachable"),
        enable_ipv6: reader.flag("enable_ipv6"),
        labels: reader.labels("labels"),
        ipam: pools,
    }
}

fn pools(network: &Reader<'_>) -> Vec<IpamPool> {
    let given = network.inner("ipam").map(|ipam| ipam.get("config")).unwrap_or_default();
    let one = |pool| {
        let pool = Reader::new(pool, "");
        IpamPool {
            subnet: pool.text("subnet"),
            gateway: pool.text("gateway"),
            ip_range: pool.text("ip_range"),
        }
    };
    items(given).iter().map(one).collect()
}

pub(super) fn volume(project: &str, key: &str, entry: &Entry, log: &mut Log) -> Volume {
    let reader = Reader::new(&entry.node, format!("volumes.{key}"));
    let (name, external) = named(project, key, &reader, log);
    Volume {
        place: entry.key.clone(),
        name,
        external,
        driver: reader.text("driver"),
        driver_opts: reader.labels("driver_opts"),
        labels: reader.labels("labels"),
    }
}

/// The engine's name of a network or volume, and whether it exists without the project.
fn named(project: &str, key: &str, reader: &Reader<'_>, log: &mut Log) -> (String, bool) {
    let external = reader.inner("external");
    let is_external = external.as_ref().is_some_and(|external| external.is("external"));
    let name = reader.text("name").or_else(|| external?.text("name"));
    if is_external {
        for other in ["driver", "driver_opts", "labels", "ipam", "internal", "attachable", "enable_ipv6"] {
            if let Some(node) = reader.get(other) {
                let message =
                    format!("`{}` is external: `{other}` is not this project's to set", reader.path);
                log.problem(Problem::new(node.place.clone(), message));
            }
        }
    }
    let own = || if is_external { key.to_owned() } else { format!("{project}_{key}") };
    (name.unwrap_or_else(own), is_external)
}

pub(super) fn file_object(section: &str, key: &str, entry: &Entry, log: &mut Log) -> Option<FileObject> {
    let reader = Reader::new(&entry.node, format!("{section}.{key}"));
    let file = reader.text("file").map(|resolved| match path::repository(&resolved) {
        Some(path) => FileContent::Repository(path.to_owned()),
        None => FileContent::Host(resolved),
    });
    let value = reader.text(VALUE);
    let variable = reader.text("environment").map(|variable| FileContent::Environment { variable, value });
    let inline = reader.text("content").map(FileContent::Inline);
    let mut contents = [file, variable, inline].into_iter().flatten();
    match (contents.next(), contents.next()) {
        (Some(content), None) => Some(FileObject { place: entry.key.clone(), content }),
        (None, _) => {
            let message = format!("`{section}.{key}` comes from nowhere");
            log.problem(
                Problem::new(entry.key.clone(), message).hint("give it a `file` or an `environment`"),
            );
            None
        }
        (Some(_), Some(_)) => {
            let message = format!("`{section}.{key}` comes from two places at once");
            log.problem(Problem::new(entry.key.clone(), message).hint("keep one of them"));
            None
        }
    }
}
