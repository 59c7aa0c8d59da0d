//! The canonical tree as the typed model. Kinds of values were checked before; what is left are ranges,
//! required keys and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem::{Log, Problem};
use super::tree::{Entry, Map, Node, Value};
use crate::model::project::Project;

mod build;
mod deploy;
mod mount;
mod resource;
mod service;

pub(super) fn project(tree: &Node, name: &str, log: &mut Log) -> Project {
    let mut project = Project { name: name.to_owned(), ..Project::default() };
    for (key, entry) in each(tree.get("services")) {
        if let Some(service) = service::read(key, entry, log) {
            project.services.insert(key.clone(), service);
        }
    }
    for (key, entry) in each(tree.get("networks")) {
        project.networks.insert(key.clone(), resource::network(name, key, entry, log));
    }
    for (key, entry) in each(tree.get("volumes")) {
        project.volumes.insert(key.clone(), resource::volume(name, key, entry, log));
    }
    for (section, objects) in [("secrets", &mut project.secrets), ("configs", &mut project.configs)] {
        for (key, entry) in each(tree.get(section)) {
            if let Some(object) = resource::file_object(section, key, entry, log) {
                objects.insert(key.clone(), object);
            }
        }
    }
    project
}

/// The entries of a mapping; none of anything else.
fn each(node: Option<&Node>) -> impl Iterator<Item = (&String, &Entry)> {
    node.and_then(Node::as_map).into_iter().flatten()
}

/// The elements of a list; none of anything else.
fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// Reads the keys of one mapping.
struct Reader<'a> {
    node: &'a Node,
    /// For messages: `services.web`.
    path: String,
}

impl<'a> Reader<'a> {
    fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key).filter(|node| !node.is_null())
    }

    fn inner(&self, key: &str) -> Option<Reader<'a>> {
        self.get(key).map(|node| Reader::new(node, format!("{}.{key}", self.path)))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_text().map(str::to_owned)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn is(&self, key: &str) -> bool {
        self.flag(key).unwrap_or_default()
    }

    fn float(&self, key: &str) -> Option<f64> {
        match self.get(key)?.value {
            Value::Float(value) => Some(value),
            _ => None,
        }
    }

    /// A whole number in the range of `T`.
    fn number<T: TryFrom<i128>>(&self, key: &str, log: &mut Log) -> Option<T> {
        let node = self.get(key)?;
        let Value::Int(number) = node.value else { return None };
        let value = T::try_from(number).ok();
        if value.is_none() {
            let message = format!("`{}.{key}` cannot be {number}", self.path);
            log.problem(Problem::new(node.place.clone(), message));
        }
        value
    }

    /// A length of time; canonical is nanoseconds.
    fn duration(&self, key: &str) -> Option<Duration> {
        match self.get(key)?.value {
            Value::Int(nanos) => u64::try_from(nanos).ok().map(Duration::from_nanos),
            _ => None,
        }
    }

    fn words(&self, key: &str) -> Vec<String> {
        self.list(key).unwrap_or_default()
    }

    /// The same, where the order says nothing.
    fn sorted(&self, key: &str) -> Vec<String> {
        let mut words = self.words(key);
        words.sort();
        words
    }

    /// A list of text that differs from none when it is empty.
    fn list(&self, key: &str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        Some(items(Some(node)).iter().filter_map(Node::as_text).map(str::to_owned).collect())
    }

    /// A mapping of text, null where a name has no value.
    fn pairs(&self, key: &str) -> BTreeMap<String, Option<String>> {
        each(self.get(key)).map(|(name, entry)| (name.clone(), entry.node.word())).collect()
    }

    /// The same, an empty text where a name has no value.
    fn labels(&self, key: &str) -> BTreeMap<String, String> {
        self.pairs(key).into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }

    /// Notes that a required key is missing.
    fn missing<T>(&self, key: &str, log: &mut Log) -> Option<T> {
        let message = format!("`{}` needs a `{key}`", self.path);
        log.problem(Problem::new(self.node.place.clone(), message));
        None
    }

    fn required(&self, key: &str, log: &mut Log) -> Option<String> {
        self.text(key).or_else(|| self.missing(key, log))
    }
}

/// The places of the keys of a mapping.
fn key_places(map: Option<&Map>) -> BTreeMap<String, crate::model::place::Place> {
    map.into_iter().flatten().map(|(name, entry)| (name.clone(), entry.key.clone())).collect()
}
