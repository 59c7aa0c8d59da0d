//! The tree every stage before the typed model works on: YAML with places, and the two edits (`!reset`,
//! `!override`) an overriding file can ask for. It knows nothing of Compose.

use std::collections::BTreeMap;

use super::number;
use crate::model::place::Place;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) edit: Edit,
    pub(super) value: Value,
}

/// What a tag asks for when this node is laid over another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Edit {
    #[default]
    Merge,
    /// `!reset`: as if neither file had said anything.
    Reset,
    /// `!override`: this value instead of, not merged into.
    Replace,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

pub(super) type Map = BTreeMap<String, Entry>;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where the key is written.
    pub(super) key: Place,
    pub(super) node: Node,
}

// Two files may say the same thing in different places: places do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.edit == other.edit
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Node {
    pub(super) fn new(place: Place, value: Value) -> Self {
        Self { place, edit: Edit::Merge, value }
    }

    pub(super) fn text(place: &Place, text: impl Into<String>) -> Self {
        Self::new(place.clone(), Value::Text(text.into()))
    }

    pub(super) fn map(place: &Place) -> Self {
        Self::new(place.clone(), Value::Map(Map::new()))
    }

    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        Some(&self.as_map()?.get(key)?.node)
    }

    /// Adds a value to a mapping, under a key that stands where the value stands.
    pub(super) fn set(&mut self, key: &str, node: Node) {
        if let Some(map) = self.as_map_mut() {
            map.insert(key.to_owned(), Entry { key: node.place.clone(), node });
        }
    }

    /// The same, in one expression.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        let node = Self::new(self.place.clone(), value);
        self.set(key, node);
        self
    }

    /// A scalar as the text the reference implementation makes of it; `None` for null, lists and mappings.
    pub(super) fn word(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(number::float_text(*value)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What a person would call this value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
