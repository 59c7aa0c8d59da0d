//! Services that wait for each other in a circle would wait for ever.

use std::collections::BTreeSet;

use crate::model::project::Project;
use crate::plan::compose::problem::{Log, Problem};

pub(super) fn check(project: &Project, log: &mut Log) {
    let mut done = BTreeSet::new();
    for name in project.services.keys() {
        visit(project, name, &mut Vec::new(), &mut done, log);
    }
}

/// Depth first; `path` holds the services that led here. As deep as there are services: the size of a file
/// bounds them, so the walk keeps its own stack.
fn visit<'a>(
    project: &'a Project,
    start: &'a str,
    path: &mut Vec<(&'a str, Vec<&'a str>)>,
    done: &mut BTreeSet<&'a str>,
    log: &mut Log,
) {
    let next = |name: &str| -> Vec<&'a str> {
        let service = project.services.get(name);
        service.into_iter().flat_map(|service| service.depends_on.keys()).map(String::as_str).collect()
    };
    if !done.contains(start) {
        path.push((start, next(start)));
    }
    while let Some((name, rest)) = path.last_mut() {
        let name = *name;
        let Some(wanted) = rest.pop() else {
            done.insert(name);
            path.pop();
            continue;
        };
        if let Some(from) = path.iter().position(|(known, _)| *known == wanted) {
            let circle: Vec<&str> = path[from..].iter().map(|(name, _)| *name).chain([wanted]).collect();
            let place = project.services[name].depends_on[wanted].place.clone();
            let message = format!("services depend on each other in a circle: {}", circle.join(" → "));
            log.problem(Problem::new(place, message).hint("take one `depends_on` of the circle away"));
        } else if !done.contains(wanted) && project.services.contains_key(wanted) {
            path.push((wanted, next(wanted)));
        }
    }
}
