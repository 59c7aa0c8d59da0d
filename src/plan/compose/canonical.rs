//! One file's tree into canonical form: every key checked against the schema, short forms written out,
//! scalars read, paths resolved. After this all files look alike, so merging needs no special cases.

use super::number;
use super::problem::{Log, Problem};
use super::schema::{Object, Shape, Short, Support};
use super::suggest;
use super::tree::{Edit, Entry, Map, Node, Value};

mod scalar;
mod short;

pub(super) struct Canonical<'a> {
    /// The folder relative paths start from, relative to the repository's root.
    pub(super) base: &'a str,
    pub(super) log: &'a mut Log,
}

impl Canonical<'_> {
    /// The canonical form of `node`; `None` after noting a problem, and for what says nothing. `path` is
    /// for messages: `services.web.ports`.
    pub(super) fn value(&mut self, node: Node, shape: &'static Shape, path: &str) -> Option<Node> {
        if node.edit == Edit::Reset {
            return Some(Node { value: Value::Null, ..node });
        }
        let edit = node.edit;
        let canonical = self.shaped(node, shape, path)?;
        Some(Node { edit, ..canonical })
    }

    fn shaped(&mut self, node: Node, shape: &'static Shape, path: &str) -> Option<Node> {
        // A key with nothing behind it is as good as absent, but it does clear a command of the image.
        if node.is_null() {
            return matches!(shape, Shape::Command | Shape::Object(_)).then_some(node);
        }
        match shape {
            Shape::Words { alone } => self.words(node, *alone, path),
            Shape::Command | Shape::Test => self.command(node, shape, path),
            Shape::Pairs => self.pairs(node, path),
            Shape::Hosts => self.hosts(node, path),
            Shape::Named(inner) => self.named(node, inner, path),
            Shape::Object(object) => self.object(node, object, path),
            Shape::Short(short, object) => self.short(node, *short, object, path),
            Shape::Names(object, listed) => self.names(node, object, listed, path),
            Shape::Many(short, object, _) => self.many(node, *short, object, path),
            Shape::OneOrMany(short, object, _) => {
                let node = match &node.value {
                    Value::List(_) => node,
                    _ => Node::new(node.place.clone(), Value::List(vec![node])),
                };
                self.many(node, *short, object, path)
            }
            Shape::Ulimit(object) => match node.value {
                Value::Map(_) => self.object(node, object, path),
                _ => self.value(node, &Shape::Int, path),
            },
            _ => self.scalar(node, shape, path),
        }
    }

    fn object(&mut self, node: Node, object: &'static Object, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Map::new();
        for (name, entry) in self.map(node, path, "a mapping")? {
            if name.starts_with("x-") {
                continue;
            }
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match object.find(&name).map(|key| &key.support) {
                Some(Support::Yes(shape)) => {
                    if let Some(node) = self.value(entry.node, shape, &inner) {
                        out.insert(name, Entry { key: entry.key, node });
                    }
                }
                Some(Support::No(instead)) => {
                    self.log.problem(
                        Problem::new(entry.key, format!("`{inner}` is not supported")).hint(*instead),
                    );
                }
                Some(Support::Idle(why)) => {
                    self.log.warning(Problem::new(entry.key, format!("`{inner}` has no effect: {why}")));
                }
                None => {
                    let problem = Problem::new(
                        entry.key,
                        format!("`{inner}` is not a key of the Compose Specification"),
                    );
                    let names = object.keys.iter().map(|key| key.name);
                    self.log.problem(match suggest::nearest(&name, names) {
                        Some(near) => problem.hint(format!("did you mean `{near}`?")),
                        None => problem.hint("a key of your own starts with `x-`"),
                    });
                }
            }
        }
        Some(Node::new(place, Value::Map(out)))
    }

    fn named(&mut self, node: Node, inner: &'static Shape, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Map::new();
        for (name, entry) in self.map(node, path, "a mapping")? {
            // Extensions may stand among declared things, but an option may well be called `x-…`.
            if name.starts_with("x-") && matches!(inner, Shape::Object(_)) {
                continue;
            }
            if let Some(node) = self.value(entry.node, inner, &format!("{path}.{name}")) {
                out.insert(name, Entry { key: entry.key, node });
            }
        }
        Some(Node::new(place, Value::Map(out)))
    }

    fn names(
        &mut self,
        node: Node,
        object: &'static Object,
        listed: &[(&'static str, &'static str)],
        path: &str,
    ) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Map::new();
        if let Value::List(items) = node.value {
            for item in items {
                let Some(name) = self.text_of(&item, path) else { continue };
                let mut inner = Node::map(&item.place);
                for (key, value) in listed {
                    inner = inner.with(key, number::plain(value));
                }
                out.insert(name, Entry { key: item.place, node: inner });
            }
            return Some(Node::new(place, Value::Map(out)));
        }
        for (name, entry) in self.map(node, path, "a list or a mapping")? {
            let inner = match entry.node.value {
                Value::Null => Some(Node::map(&entry.node.place)),
                _ => self.object(entry.node, object, &format!("{path}.{name}")),
            };
            out.extend(inner.map(|node| (name, Entry { key: entry.key, node })));
        }
        Some(Node::new(place, Value::Map(out)))
    }

    fn many(&mut self, node: Node, short: Short, object: &'static Object, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Vec::new();
        for item in self.list(node, path, "a list")? {
            let written_out = match short {
                Short::Port => self.ports(item, path),
                _ => self.written_out(item, short, path).into_iter().collect(),
            };
            for item in written_out {
                out.extend(self.object(item, object, path));
            }
        }
        Some(Node::new(place, Value::List(out)))
    }

    fn short(&mut self, node: Node, short: Short, object: &'static Object, path: &str) -> Option<Node> {
        let written_out = self.written_out(node, short, path)?;
        self.object(written_out, object, path)
    }

    fn map(&mut self, node: Node, path: &str, wanted: &str) -> Option<Map> {
        match node.value {
            Value::Map(map) => Some(map),
            _ => self.wrong(&node, path, wanted),
        }
    }

    fn list(&mut self, node: Node, path: &str, wanted: &str) -> Option<Vec<Node>> {
        match node.value {
            Value::List(items) => Some(items),
            _ => self.wrong(&node, path, wanted),
        }
    }

    /// Notes that a value is of the wrong kind.
    fn wrong<T>(&mut self, node: &Node, path: &str, wanted: &str) -> Option<T> {
        let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        self.log.problem(Problem::new(
            node.place.clone(),
            format!("{what} must be {wanted}, not {}", node.kind()),
        ));
        None
    }
}
