//! Variables that a file only names: `environment: [HOME]`, build arguments, secrets and configs from a
//! variable. They are taken where the file is read, because an included project has variables of its own.

use super::Variables;
use crate::plan::compose::tree::{Map, Node, Value};

/// The key a found value is kept under; no key of a file can be called so.
pub(in super::super) const VALUE: &str = "=value";

pub(super) fn resolve(project: &mut Node, variables: &Variables) {
    for service in entries(project, "services") {
        if let Some(Value::Map(environment)) = value(service, "environment") {
            fill(environment, variables);
        }
        let build = service.as_map_mut().and_then(|service| service.get_mut("build"));
        if let Some(Value::Map(arguments)) = build.and_then(|build| value(&mut build.node, "args")) {
            fill(arguments, variables);
            // The engine has no other place to look for them.
            arguments.retain(|_, entry| !entry.node.is_null());
        }
    }
    for section in ["secrets", "configs"] {
        for object in entries(project, section) {
            let name = object.get("environment").and_then(Node::as_text);
            if let Some(found) = name.and_then(|name| variables.get(name)) {
                object.set(VALUE, Node::text(&object.place.clone(), found));
            }
        }
    }
}

fn fill(pairs: &mut Map, variables: &Variables) {
    for (name, entry) in pairs.iter_mut().filter(|(_, entry)| entry.node.is_null()) {
        if let Some(found) = variables.get(name) {
            entry.node.value = Value::Text(found.clone());
        }
    }
}

fn value<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Value> {
    Some(&mut node.as_map_mut()?.get_mut(key)?.node.value)
}

fn entries<'a>(project: &'a mut Node, section: &str) -> impl Iterator<Item = &'a mut Node> {
    let section = match value(project, section) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    };
    section.into_iter().flat_map(|map| map.values_mut()).map(|entry| &mut entry.node)
}
