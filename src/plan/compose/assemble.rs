//! From the files of a project to one canonical tree: reads, fills in variables, follows `include` and
//! `extends`, lays overriding files over the first. The only room that asks for files.

use std::collections::{BTreeMap, BTreeSet};

use super::canonical::Canonical;
use super::interpolate;
use super::path;
use super::problem::{Log, Problem};
use super::schema::{Shape, TOP};
use super::tree::{Map, Node, Value};
use super::{Files, dotenv, merge, parse};
use crate::model::place::Place;

mod env_file;
mod environment;
mod extends;
mod include;

pub(super) use environment::VALUE;

pub(super) type Variables = BTreeMap<String, String>;

/// The shape of a whole file.
pub(super) static PROJECT: Shape = Shape::Object(&TOP);
/// Longest chain of includes or of extensions.
const CHAIN: usize = 32;

pub(super) struct Assembler<'a> {
    files: &'a dyn Files,
    pub(super) log: Log,
    /// Every file asked for, there or not: its coming or going changes the project too.
    pub(super) read: BTreeSet<String>,
}

/// Where the files of one project are looked for, and what fills in their variables.
#[derive(Clone)]
pub(super) struct Scope {
    /// Folder relative paths start from, relative to the repository's root.
    pub(super) base: String,
    pub(super) variables: Variables,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(files: &'a dyn Files) -> Self {
        Self { files, log: Log::default(), read: BTreeSet::new() }
    }

    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        self.read.insert(path.to_owned());
        self.files.read(path)
    }

    /// The variables of `.env` in `folder`, under those given.
    pub(super) fn scope(&mut self, base: &str, given: &Variables) -> Scope {
        let file = if base.is_empty() { ".env".to_owned() } else { format!("{base}/.env") };
        let mut scope = Scope { base: base.to_owned(), variables: given.clone() };
        if let Some(bytes) = self.file(&file) {
            self.add_variables(&mut scope.variables, &file, &bytes);
        }
        scope
    }

    /// Adds the variables of a file that are not known yet.
    fn add_variables(&mut self, variables: &mut Variables, file: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match dotenv::parse(&text, &|name| variables.get(name).cloned()) {
            Ok(found) => {
                for (name, value) in found {
                    variables.entry(name).or_insert(value);
                }
            }
            Err(bad) => self.log.problem(Problem::new(Place::new(file, bad.line, 1), bad.message)),
        }
    }

    /// The files of one project, laid over each other. `chain` holds the files that led here by `include`,
    /// `asked` is where that is written.
    pub(super) fn project(
        &mut self,
        files: &[String],
        scope: &Scope,
        chain: &[String],
        asked: Option<&Place>,
    ) -> Node {
        let mut project = Node::map(&Place::new(files.first().map_or("", String::as_str), 0, 0));
        for file in files {
            for document in self.documents(file, asked, scope).unwrap_or_default() {
                let base = scope.base.as_str();
                let canonical = Canonical { base, log: &mut self.log }.value(document, &PROJECT, "");
                let Some(mut tree) = canonical else { continue };
                self.extend_all(&mut tree, file, scope);
                self.include_all(&mut tree, scope, &[chain, std::slice::from_ref(file)].concat());
                merge::lay(&mut project, tree, Some(&PROJECT));
            }
        }
        merge::settle(&mut project);
        environment::resolve(&mut project, &scope.variables);
        project
    }

    /// The documents of a file, variables filled in. `asked`: where the file is named, if in a file.
    fn documents(&mut self, file: &str, asked: Option<&Place>, scope: &Scope) -> Option<Vec<Node>> {
        let Some(bytes) = self.file(file) else {
            let place = asked.cloned().unwrap_or_else(|| Place::new(file, 0, 0));
            self.log.problem(Problem::new(place, format!("there is no file {file} in the repository")));
            return None;
        };
        let mut documents = self.log.keep(parse::documents(file, &bytes))?;
        for document in &mut documents {
            interpolate::tree(document, &scope.variables, &mut self.log);
        }
        Some(documents)
    }

    /// A path from a file, as the path of a file in the repository.
    fn repository_file(&mut self, node: &Node, scope: &Scope) -> Option<String> {
        let text = node.as_text()?;
        match path::in_repository(&scope.base, text) {
            Ok(file) => Some(file),
            Err(refused) => {
                let message = format!("cannot read `{text}`: {refused}");
                self.log.problem(Problem::new(node.place.clone(), message).hint(refused.hint()));
                None
            }
        }
    }
}

/// The mapping under a key, empty if there is none.
fn section(tree: &Node, key: &str) -> Map {
    match tree.get(key).map(|node| &node.value) {
        Some(Value::Map(map)) => map.clone(),
        _ => Map::new(),
    }
}
