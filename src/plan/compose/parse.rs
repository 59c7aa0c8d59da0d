//! YAML text into a tree: anchors and merge keys are resolved here, and every limit that keeps a hostile
//! file from taking memory or stack is kept here. No Compose, no variables.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::tree::{Edit, Entry, Map, Node, Value};
use super::{Problem, number};
use crate::model::place::Place;

/// Deepest nesting: later stages walk the tree recursively.
const DEPTH: usize = 64;
/// Most nodes a file may come to once its aliases are copied in.
const NODES: usize = 100_000;
/// Largest file, in bytes.
const SIZE: usize = 1 << 20;

/// The documents of a file, without empty ones.
pub(super) fn documents(file: &str, bytes: &[u8]) -> Result<Vec<Node>, Problem> {
    let whole = |message: &str| Problem::new(Place::new(file, 0, 0), message);
    if bytes.len() > SIZE {
        return Err(whole("the file is larger than 1 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| whole("the file is not UTF-8 text"))?;
    let mut builder =
        Builder { file, open: Vec::new(), done: Vec::new(), anchors: BTreeMap::new(), nodes: 0 };
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|error| {
            Problem::new(builder.place(error.marker()), format!("not valid YAML: {}", error.info()))
        })?;
        builder.event(event, span)?;
    }
    builder.done.retain(|node| !node.is_null());
    Ok(builder.done)
}

struct Builder<'a> {
    file: &'a str,
    open: Vec<Open>,
    done: Vec<Node>,
    anchors: BTreeMap<usize, Built>,
    nodes: usize,
}

/// A finished node with what its copy would cost.
#[derive(Clone)]
struct Built {
    node: Node,
    depth: usize,
    size: usize,
}

/// A list or mapping whose end was not seen yet.
struct Open {
    place: Place,
    edit: Edit,
    anchor: usize,
    depth: usize,
    size: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map {
        map: Map,
        key: Option<(String, Place)>,
        /// Values of `<<`, in order: an earlier one wins.
        merges: Vec<Node>,
    },
}

impl Builder<'_> {
    fn place(&self, marker: &Marker) -> Place {
        Place::new(self.file, marker.line(), marker.col() + 1)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(built) => self.add(built, 0),
                None => Err(Problem::new(place, "an alias cannot stand inside the node it names")),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let (edit, as_text) = read_tag(tag.as_deref(), &place)?;
                let plain = style == ScalarStyle::Plain && !as_text;
                let value = if plain { number::plain(&text) } else { Value::Text(text.into_owned()) };
                self.add(Built { node: Node { place, edit, value }, depth: 1, size: 1 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(place, anchor, tag.as_deref(), Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let kind = Kind::Map { map: Map::new(), key: None, merges: Vec::new() };
                self.open(place, anchor, tag.as_deref(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, kind: Kind) -> Result<(), Problem> {
        if self.open.len() >= DEPTH {
            return Err(too_deep(place));
        }
        let (edit, _) = read_tag(tag, &place)?;
        self.open.push(Open { place, edit, anchor, depth: 0, size: 0, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Open { place, edit, anchor, depth, size, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            Kind::List(items) => Value::List(items),
            Kind::Map { mut map, merges, .. } => {
                for merge in merges {
                    merge_key(&mut map, merge)?;
                }
                Value::Map(map)
            }
        };
        // The parts were counted when they were added.
        self.nodes = self.nodes.saturating_sub(size);
        self.add(Built { node: Node { place, edit, value }, depth: depth + 1, size: size + 1 }, anchor)
    }

    fn add(&mut self, built: Built, anchor: usize) -> Result<(), Problem> {
        self.nodes += built.size;
        if self.nodes > NODES {
            let message = format!("the file comes to more than {NODES} nodes once its aliases are copied in");
            return Err(Problem::new(built.node.place, message));
        }
        if self.open.len() + built.depth > DEPTH {
            return Err(too_deep(built.node.place));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(top) = self.open.last_mut() else {
            self.done.push(built.node);
            return Ok(());
        };
        top.depth = top.depth.max(built.depth);
        top.size += built.size;
        match &mut top.kind {
            Kind::List(_) if built.node.edit != Edit::Merge => {
                let problem = Problem::new(
                    built.node.place,
                    "`!reset` and `!override` stand behind a key, not in a list",
                );
                return Err(problem.hint("put the tag before the whole list"));
            }
            Kind::List(items) => items.push(built.node),
            Kind::Map { map, key, merges } => match key.take() {
                None => *key = Some(read_key(map, built.node)?),
                Some((name, _)) if name == "<<" => merges.push(built.node),
                Some((name, place)) => {
                    map.insert(name, Entry { key: place, node: built.node });
                }
            },
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Problem {
    Problem::new(place, format!("nested more than {DEPTH} levels deep"))
}

fn read_key(map: &Map, node: Node) -> Result<(String, Place), Problem> {
    let text = match &node.value {
        Value::Null => Some("null".to_owned()),
        _ => node.word(),
    };
    let Some(text) = text else {
        return Err(Problem::new(node.place, "a key must be a word, not a list or a mapping"));
    };
    match map.get(&text) {
        Some(first) => {
            let message = format!("`{text}` is written twice; the first is at {}", first.key);
            Err(Problem::new(node.place, message).hint("keep one of them"))
        }
        None => Ok((text, node.place)),
    }
}

/// Adds what `<<` names; a key that is already there stays.
fn merge_key(map: &mut Map, merge: Node) -> Result<(), Problem> {
    match merge.value {
        Value::Map(other) => {
            for (name, entry) in other {
                map.entry(name).or_insert(entry);
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| item.as_map().is_some()) => {
            items.into_iter().try_for_each(|item| merge_key(map, item))
        }
        _ => Err(Problem::new(merge.place, "`<<` takes a mapping or a list of mappings, mostly as an alias")
            .hint("write `<<: *name` or `<<: [*one, *two]`")),
    }
}

/// What a tag says: the edit, and whether a plain scalar is to stay text.
fn read_tag(tag: Option<&Tag>, place: &Place) -> Result<(Edit, bool), Problem> {
    let Some(tag) = tag else { return Ok((Edit::Merge, false)) };
    match (tag.is_yaml_core_schema(), tag.handle.as_str(), tag.suffix.as_str()) {
        (true, _, "str") => Ok((Edit::Merge, true)),
        (true, _, "null" | "bool" | "int" | "float" | "seq" | "map") => Ok((Edit::Merge, false)),
        (_, "!", "reset") => Ok((Edit::Reset, false)),
        (_, "!", "override") => Ok((Edit::Replace, false)),
        _ => Err(Problem::new(place.clone(), format!("the tag `{tag}` is not known"))
            .hint("Compose knows `!reset` and `!override`")),
    }
}
