//! Lays one canonical tree over another: an overriding file over the one before it, a service over the one
//! it extends. What merges how is said by the schema.
//!
//! `!reset` and `!override` stay in the result until [`settle`], because a service that extends another may
//! in turn be laid over a file before it.

use super::schema::{Identity, LOGGING, Object, Shape, Support};
use super::tree::{Edit, Entry, Map, Node, Value};

/// Lays `over` over `base`.
pub(super) fn lay(base: &mut Node, over: Node, shape: Option<&'static Shape>) {
    if over.edit != Edit::Merge {
        *base = over;
        return;
    }
    if base.edit == Edit::Reset {
        // What was reset before is started afresh, also where this comes to lie over yet another file.
        *base = Node { edit: Edit::Replace, ..over };
        return;
    }
    let Some(shape) = shape else {
        base.value = over.value;
        return;
    };
    // An empty key says nothing, except that a command is the image's own again.
    if over.is_null() && !matches!(shape, Shape::Command) {
        return;
    }
    if base.is_null() {
        base.place = over.place;
        base.value = over.value;
        return;
    }
    match shape {
        Shape::Object(object) | Shape::Short(_, object) | Shape::Ulimit(object) => {
            lay_object(base, over, object)
        }
        Shape::Named(inner) => lay_maps(base, over, |_| Some(inner)),
        Shape::Names(object, _) => lay_names(base, over, object),
        Shape::Pairs => lay_maps(base, over, |_| None),
        Shape::Words { .. } | Shape::Hosts => append(base, over, |one, other| one == other),
        Shape::Many(_, _, identity) | Shape::OneOrMany(_, _, identity) => {
            append(base, over, |one, other| same(*identity, one, other));
        }
        _ => *base = over,
    }
}

fn lay_object(base: &mut Node, over: Node, object: &'static Object) {
    let drivers = (base.get("driver"), over.get("driver"));
    let other_driver = matches!(drivers, (Some(one), Some(other)) if one != other);
    // Options of one logging driver mean nothing to another.
    if std::ptr::eq(object, &LOGGING) && other_driver || over.as_map().is_none() || base.as_map().is_none() {
        *base = over;
        return;
    }
    lay_maps(base, over, |name| shape_of(object, name));
}

fn shape_of(object: &'static Object, name: &str) -> Option<&'static Shape> {
    match object.find(name).map(|key| &key.support) {
        Some(Support::Yes(shape)) => Some(shape),
        _ => None,
    }
}

fn lay_names(base: &mut Node, over: Node, object: &'static Object) {
    let (Value::Map(base), Value::Map(over)) = (&mut base.value, over.value) else { return };
    for (name, entry) in over {
        match base.get_mut(&name) {
            Some(known) if entry.node.edit == Edit::Merge && known.node.edit != Edit::Reset => {
                lay_object(&mut known.node, entry.node, object);
            }
            _ => {
                base.insert(name, entry);
            }
        }
    }
}

fn lay_maps(base: &mut Node, over: Node, shape: impl Fn(&str) -> Option<&'static Shape>) {
    let (Value::Map(base), Value::Map(over)) = (&mut base.value, over.value) else { return };
    for (name, entry) in over {
        match base.get_mut(&name) {
            Some(known) => {
                lay(&mut known.node, entry.node, shape(&name));
                known.key = entry.key;
            }
            None => {
                base.insert(name, entry);
            }
        }
    }
}

fn append(base: &mut Node, over: Node, same: impl Fn(&Node, &Node) -> bool) {
    let (Value::List(base), Value::List(over)) = (&mut base.value, over.value) else { return };
    for item in over {
        match base.iter_mut().find(|known| same(known, &item)) {
            Some(known) => *known = item,
            None => base.push(item),
        }
    }
}

/// Whether two elements of a list are one and the same thing, said twice.
pub(super) fn same(identity: Identity, one: &Node, other: &Node) -> bool {
    match identity {
        Identity::All => false,
        Identity::By(keys) => keys.iter().all(|key| one.get(key) == other.get(key)),
        Identity::Port => {
            address(one) == address(other)
                && ["published", "target", "protocol"].iter().all(|key| one.get(key) == other.get(key))
        }
        Identity::Target(folder) => target(folder, one) == target(folder, other),
    }
}

fn address(port: &Node) -> &str {
    port.get("host_ip").and_then(Node::as_text).unwrap_or("0.0.0.0")
}

fn target(folder: &str, node: &Node) -> Option<String> {
    let text = |key| node.get(key).and_then(Node::as_text);
    match text("target") {
        Some(target) if target.starts_with('/') => Some(target.to_owned()),
        Some(target) => Some(format!("{folder}{target}")),
        None => text("source").map(|source| format!("{folder}{source}")),
    }
}

/// Takes out what was reset, and removes what the edits left behind.
pub(super) fn settle(node: &mut Node) {
    node.edit = Edit::Merge;
    match &mut node.value {
        Value::Map(map) => settle_map(map),
        Value::List(items) => {
            items.retain(|item| item.edit != Edit::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

fn settle_map(map: &mut Map) {
    map.retain(|_, entry: &mut Entry| entry.node.edit != Edit::Reset);
    map.values_mut().for_each(|entry| settle(&mut entry.node));
}
