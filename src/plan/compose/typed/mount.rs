//! One mount of a service.

use super::super::path;
use super::super::problem::{Log, Problem};
use super::Reader;
use crate::model::project::{Mount, MountOptions, MountSource};

pub(super) fn read(reader: &Reader<'_>, log: &mut Log) -> Option<Mount> {
    let target = reader.required("target", log)?;
    let kind = reader.required("type", log)?;
    let source = match kind.as_str() {
        "tmpfs" => MountSource::Tmpfs,
        "bind" => bind_source(&reader.required("source", log)?),
        _ => reader.text("source").map_or(MountSource::Anonymous, MountSource::Volume),
    };
    if !target.starts_with('/') {
        let message = format!("`{}`: `{target}` is not an absolute path in the container", reader.path);
        log.problem(Problem::new(reader.node.place.clone(), message));
        return None;
    }
    if source == MountSource::Tmpfs && reader.get("source").is_some() {
        let message = format!("`{}`: a `tmpfs` has no `source`", reader.path);
        log.problem(Problem::new(reader.node.place.clone(), message));
    }
    for section in ["bind", "volume", "tmpfs"] {
        if let Some(node) = reader.get(section).filter(|_| section != kind) {
            let message = format!("`{}`: `{section}` does not go with `type: {kind}`", reader.path);
            log.problem(Problem::new(node.place.clone(), message));
        }
    }
    Some(Mount {
        place: reader.node.place.clone(),
        source,
        target: path::inside(&target),
        read_only: reader.is("read_only"),
        options: options(reader, log),
    })
}

fn bind_source(resolved: &str) -> MountSource {
    match path::repository(resolved) {
        Some(path) => MountSource::Repository(path.to_owned()),
        None => MountSource::Host(resolved.to_owned()),
    }
}

fn options(reader: &Reader<'_>, log: &mut Log) -> MountOptions {
    let mut options = MountOptions::default();
    if let Some(bind) = reader.inner("bind") {
        options.propagation = bind.text("propagation");
        options.selinux = bind.text("selinux");
        // The short form says yes by itself; in the long form it is asked for, as the reference has it.
        options.create_host_path = bind.is("create_host_path");
    }
    if let Some(volume) = reader.inner("volume") {
        options.nocopy = volume.is("nocopy");
        options.subpath = volume.text("subpath");
    }
    if let Some(tmpfs) = reader.inner("tmpfs") {
        options.tmpfs_size = tmpfs.number("size", log);
        options.tmpfs_mode = tmpfs.number("mode", log);
    }
    options
}
