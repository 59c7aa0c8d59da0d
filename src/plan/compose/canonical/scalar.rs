//! Single values, and lists and pairs of them.

use super::super::number;
use super::super::path;
use super::super::problem::Problem;
use super::super::schema::Shape;
use super::super::tree::{Entry, Map, Node, Value};
use super::Canonical;
use crate::model::place::Place;

impl Canonical<'_> {
    pub(super) fn scalar(&mut self, node: Node, shape: &'static Shape, path: &str) -> Option<Node> {
        let value = match shape {
            Shape::Text => Value::Text(self.text_of(&node, path)?),
            Shape::OneOf(words) => self.one_of(&node, words, path)?,
            Shape::Word => Value::Text(self.word_of(&node, path)?),
            Shape::Bool => self.boolean(&node, path)?,
            Shape::Int => self.read(&node, path, "a whole number", whole)?,
            Shape::Float => self.read(&node, path, "a number", fraction)?,
            Shape::Bytes => self.read(&node, path, "a size such as `64m` or `1.5g`", size)?,
            Shape::Mode => self.read(&node, path, "file permissions such as `0440`", mode)?,
            Shape::Duration => self.duration(&node, path)?,
            Shape::Path => Value::Text(self.path_of(&node, path)?),
            _ => return self.wrong(&node, path, "something else"),
        };
        Some(Node::new(node.place, value))
    }

    /// Text as it is written. Numbers and booleans are refused, as the reference does: YAML has already
    /// changed how they look.
    pub(super) fn text_of(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let message = format!("`{path}` must be text, not {}", node.kind());
                self.log.problem(Problem::new(node.place.clone(), message).hint("put it in quotes"));
                None
            }
            _ => self.wrong(node, path, "text"),
        }
    }

    fn word_of(&mut self, node: &Node, path: &str) -> Option<String> {
        node.word().or_else(|| self.wrong(node, path, "text"))
    }

    fn one_of(&mut self, node: &Node, words: &'static [&'static str], path: &str) -> Option<Value> {
        let text = self.text_of(node, path)?;
        if words.contains(&text.as_str()) {
            return Some(Value::Text(text));
        }
        let choices = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        let message = format!("`{path}` must be {choices}, not `{text}`");
        self.log.problem(Problem::new(node.place.clone(), message));
        None
    }

    fn boolean(&mut self, node: &Node, path: &str) -> Option<Value> {
        let text = match &node.value {
            Value::Bool(_) => return Some(node.value.clone()),
            _ => node.word().unwrap_or_default().to_ascii_lowercase(),
        };
        let (value, plain) = match text.as_str() {
            "true" => (true, true),
            "false" => (false, true),
            "1" | "t" | "y" | "yes" | "on" => (true, false),
            "0" | "f" | "n" | "no" | "off" => (false, false),
            _ => return self.wrong_value(node, path, "`true` or `false`"),
        };
        if !plain {
            let message = format!("`{path}` is `{text}`, taken as `{value}`");
            self.log.warning(Problem::new(node.place.clone(), message).hint(format!("write `{value}`")));
        }
        Some(Value::Bool(value))
    }

    fn duration(&mut self, node: &Node, path: &str) -> Option<Value> {
        if let Value::Int(number) = node.value {
            let problem =
                Problem::new(node.place.clone(), format!("`{path}` is a duration and needs a unit"));
            self.log.problem(problem.hint(format!("write `{number}s` for seconds")));
            return None;
        }
        self.read(node, path, "a duration such as `30s` or `1m30s`", |value| match value {
            Value::Text(text) => {
                number::duration(text).map(|value| Value::Int(value.as_nanos().cast_signed() as _))
            }
            _ => None,
        })
    }

    pub(super) fn path_of(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.text_of(node, path)?;
        match path::resolve(self.base, &text) {
            Ok(resolved) => Some(resolved),
            Err(refused) => {
                let message = format!("`{path}` cannot be `{text}`: {refused}");
                self.log.problem(Problem::new(node.place.clone(), message).hint(refused.hint()));
                None
            }
        }
    }

    fn read(
        &mut self,
        node: &Node,
        path: &str,
        wanted: &str,
        reader: impl Fn(&Value) -> Option<Value>,
    ) -> Option<Value> {
        reader(&node.value).or_else(|| self.wrong_value(node, path, wanted))
    }

    fn wrong_value<T>(&mut self, node: &Node, path: &str, wanted: &str) -> Option<T> {
        match node.word() {
            Some(word) => {
                let message = format!("`{path}` must be {wanted}, not `{word}`");
                self.log.problem(Problem::new(node.place.clone(), message));
                None
            }
            None => self.wrong(node, path, wanted),
        }
    }

    pub(super) fn words(&mut self, node: Node, alone: bool, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let items = match node.value {
            Value::List(items) => items,
            _ if alone => vec![node],
            _ => self.list(node, path, "a list")?,
        };
        let mut out: Vec<Node> = Vec::new();
        for item in items {
            let Some(word) = self.word_of(&item, path) else { continue };
            if !out.iter().any(|known| known.as_text() == Some(&word)) {
                out.push(Node::text(&item.place, word));
            }
        }
        Some(Node::new(place, Value::List(out)))
    }

    pub(super) fn command(&mut self, node: Node, shape: &Shape, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let words = match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text_of(item, path)).collect(),
            Value::Map(_) => return self.wrong(&node, path, "text or a list"),
            _ => {
                let text = self.text_of(&node, path)?;
                match shape {
                    Shape::Test => vec!["CMD-SHELL".to_owned(), text],
                    _ => match super::super::shell::split(&text) {
                        Some(words) => words,
                        None => return self.wrong_value(&node, path, "a command with closed quotes"),
                    },
                }
            }
        };
        let words = words.into_iter().map(|word| Node::text(&place, word)).collect();
        Some(Node::new(place.clone(), Value::List(words)))
    }

    pub(super) fn pairs(&mut self, node: Node, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Map::new();
        if let Value::List(items) = node.value {
            for item in items {
                let Some(word) = self.word_of(&item, path) else { continue };
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Value::Text(value.to_owned())),
                    None => (word, Value::Null),
                };
                if name.is_empty() {
                    self.wrong_value::<()>(&item, path, "a list of `NAME=value`");
                    continue;
                }
                let key = item.place.clone();
                out.insert(name, Entry { key, node: Node::new(item.place, value) });
            }
            return Some(Node::new(place, Value::Map(out)));
        }
        for (name, entry) in self.map(node, path, "a mapping or a list")? {
            let Entry { key, mut node } = entry;
            if !node.is_null() {
                let Some(word) = self.word_of(&node, &format!("{path}.{name}")) else { continue };
                node.value = Value::Text(word);
            }
            out.insert(name, Entry { key, node });
        }
        Some(Node::new(place, Value::Map(out)))
    }

    pub(super) fn hosts(&mut self, node: Node, path: &str) -> Option<Node> {
        let place = node.place.clone();
        let mut out = Vec::new();
        let mut add = |place: &Place, host: &str, address: &str| {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            out.push(Node::text(place, format!("{host}={address}")));
        };
        match node.value {
            Value::List(items) => {
                for item in &items {
                    let Some(text) = self.text_of(item, path) else { continue };
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((host, address)) => add(&item.place, host, address),
                        None => self.wrong_value(item, path, "a list of `host=address`").unwrap_or_default(),
                    }
                }
            }
            _ => {
                for (host, entry) in self.map(node, path, "a mapping or a list")? {
                    let addresses = match entry.node.value {
                        Value::List(addresses) => addresses,
                        _ => vec![entry.node],
                    };
                    for item in &addresses {
                        let address = self.text_of(item, path);
                        address.iter().for_each(|address| add(&item.place, &host, address));
                    }
                }
            }
        }
        Some(Node::new(place, Value::List(out)))
    }
}

fn whole(value: &Value) -> Option<Value> {
    match value {
        Value::Int(_) => Some(value.clone()),
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => Some(Value::Int(*float as i128)),
        Value::Text(text) => text.parse::<i64>().ok().map(|number| Value::Int(number.into())),
        _ => None,
    }
}

fn fraction(value: &Value) -> Option<Value> {
    match value {
        Value::Float(_) => Some(value.clone()),
        Value::Int(number) => Some(Value::Float(*number as f64)),
        Value::Text(text) => number::float(text).map(Value::Float),
        _ => None,
    }
}

fn size(value: &Value) -> Option<Value> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok().map(|_| value.clone()),
        Value::Text(text) => number::bytes(text).map(|bytes| Value::Int(bytes.into())),
        _ => None,
    }
}

fn mode(value: &Value) -> Option<Value> {
    let bits = match value {
        Value::Int(number) => u32::try_from(*number).ok()?,
        Value::Text(text) => u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok()?,
        _ => return None,
    };
    (bits <= 0o7777).then_some(Value::Int(bits.into()))
}
