//! Compose files to a [`Project`]: the Compose Specification as people use it, measured against the
//! reference implementation's own output.
//!
//! The stages, in order: parse (YAML with places) · interpolate (variables) · canonical (schema, short
//! forms, paths) · extends and include · merge (overriding files) · typed (the model) · check (profiles,
//! references). No file is opened here: [`Files`] hands them in. Nothing a file says is ignored without a
//! word: it is read, refused by name and place, or warned about.

use std::collections::BTreeMap;

use crate::model::project::Project;

mod assemble;
mod canonical;
mod check;
mod dotenv;
mod interpolate;
mod json;
mod merge;
mod number;
mod parse;
mod path;
mod problem;
mod schema;
mod shell;
mod suggest;
mod support;
mod tree;
mod typed;

pub use json::to_json;
pub use problem::Problem;
pub use support::support_table;

/// The files of the repository at one revision.
pub trait Files {
    /// What is in a file, by its path relative to the repository's root. `None`: not there.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.get(path).cloned()
    }
}

pub struct Request<'a> {
    pub files: &'a dyn Files,
    /// The compose files, relative to the repository's root; later ones override. The first one's folder is
    /// where relative paths start and where `.env` is looked for.
    pub paths: &'a [String],
    /// The project's name, as the operator gave it.
    pub name: &'a str,
    pub profiles: &'a [String],
    /// The operator's variables; they win over `.env`.
    pub environment: &'a BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Loaded {
    pub project: Project,
    pub warnings: Vec<Problem>,
    /// Every file that was asked for, whether it was there or not, sorted: while none of them changes, and
    /// the variables stay, the project stays the same.
    pub read: Vec<String>,
}

/// Loads a project.
///
/// # Errors
/// Everything that is wrong, in the order of the places. A later stage starts only when the earlier ones
/// found nothing wrong.
pub fn load(request: &Request<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut assembler = assemble::Assembler::new(request.files);
    let base = path::folder(request.paths.first().map_or("", String::as_str)).to_owned();
    let scope = assembler.scope(&base, request.environment);
    let tree = assembler.project(request.paths, &scope, &[], None);
    assembler.log.stop()?;
    check::request(request, &tree, &mut assembler.log);
    let mut project = typed::project(&tree, request.name, &mut assembler.log);
    assembler.log.stop()?;
    check::project(&mut project, request.profiles, &mut assembler.log);
    assembler.log.stop()?;
    assembler.env_files(&tree, &mut project, &scope);
    let read = assembler.read.into_iter().collect();
    Ok(Loaded { project, warnings: assembler.log.finish()?, read })
}

/// Reads a file of `NAME=value` lines that stands beside the configuration; `file` is its name in messages.
///
/// # Errors
/// The first line that is not understood.
pub fn variables(text: &str, file: &str) -> Result<BTreeMap<String, String>, Problem> {
    let place = |line| crate::model::place::Place::new(file, line, 1);
    dotenv::parse(text, &|_| None).map_err(|bad| Problem::new(place(bad.line), bad.message))
}
#[cfg(test)]
mod tests;
