//! `env_file`: variables a service takes from files, under those of its own `environment`.

use super::{Assembler, Scope, Variables};
use crate::model::place::Place;
use crate::model::project::Project;
use crate::plan::compose::dotenv;
use crate::plan::compose::path;
use crate::plan::compose::problem::Problem;
use crate::plan::compose::tree::{Node, Value};

impl Assembler<'_> {
    /// Adds the variables of their files to the services of `project`, which were read from `tree`.
    pub(in super::super) fn env_files(&mut self, tree: &Node, project: &mut Project, scope: &Scope) {
        for (name, service) in &mut project.services {
            let files = tree.get("services").and_then(|services| services.get(name)?.get("env_file"));
            let Some(Value::List(files)) = files.map(|node| &node.value) else { continue };
            let mut found = Variables::new();
            for file in files {
                found.extend(self.env_file(file, &found, scope).unwrap_or_default());
            }
            for (name, value) in found {
                service.environment.entry(name).or_insert(Some(value));
            }
        }
    }

    /// The variables of one file. Those of the files before it can be used in its values.
    fn env_file(&mut self, node: &Node, before: &Variables, scope: &Scope) -> Option<Variables> {
        let Some(resolved) = node.get("path").and_then(Node::as_text) else {
            self.log.problem(
                Problem::new(node.place.clone(), "`env_file` names no file").hint("write `path: FILE`"),
            );
            return None;
        };
        let Some(file) = path::repository(resolved) else {
            let message = format!("`env_file` is `{resolved}`, a file of the host");
            let hint = "keep the file in the repository; what must not be there belongs into the agent's own variables";
            self.log.problem(Problem::new(node.place.clone(), message).hint(hint));
            return None;
        };
        let required = node.get("required").is_none_or(|required| required.value == Value::Bool(true));
        let Some(bytes) = self.file(file) else {
            if required {
                let message = format!("there is no file {file} in the repository");
                let hint = "add it, or write `required: false`";
                self.log.problem(Problem::new(node.place.clone(), message).hint(hint));
            }
            return None;
        };
        let text = String::from_utf8_lossy(&bytes);
        let raw = node.get("format").is_some();
        let known = |name: &str| scope.variables.get(name).or_else(|| before.get(name)).cloned();
        let read = if raw { dotenv::parse_raw(&text) } else { dotenv::parse(&text, &known) };
        self.log.keep(read.map_err(|bad| Problem::new(Place::new(file, bad.line, 1), bad.message)))
    }
}
