//! How a service's image is built.

use super::super::path;
use super::super::problem::{Log, Problem};
use super::Reader;
use crate::model::project::Build;

pub(super) fn read(reader: &Reader<'_>, log: &mut Log) -> Option<Build> {
    let resolved = reader.required("context", log)?;
    let place = reader.get("context").map_or_else(|| reader.node.place.clone(), |node| node.place.clone());
    let Some(context) = path::repository(&resolved) else {
        let message = format!("`{}.context` is `{resolved}`, a folder of the host", reader.path);
        log.problem(Problem::new(place, message).hint("images are built from the repository alone"));
        return None;
    };
    let dockerfile = reader.text("dockerfile");
    if let (Some(file), Some(node)) = (&dockerfile, reader.get("dockerfile")) {
        let message = |why: &str| format!("`{}.dockerfile` cannot be `{file}`: {why}", reader.path);
        if let Err(refused) = path::in_repository(context, file) {
            log.problem(Problem::new(node.place.clone(), message(&refused.to_string())).hint(refused.hint()));
        }
        if reader.get("dockerfile_inline").is_some() {
            log.problem(Problem::new(node.place.clone(), message("there is a `dockerfile_inline` too")));
        }
    }
    let args = reader.pairs("args").into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Some(Build {
        place: reader.node.place.clone(),
        context: context.to_owned(),
        dockerfile,
        dockerfile_inline: reader.text("dockerfile_inline"),
        args,
        target: reader.text("target"),
        labels: reader.labels("labels"),
        cache_from: reader.words("cache_from"),
        network: reader.text("network"),
        shm_size: reader.number("shm_size", log),
        extra_hosts: reader.sorted("extra_hosts"),
        pull: reader.is("pull"),
        no_cache: reader.is("no_cache"),
        tags: reader.words("tags"),
    })
}
