//! `include`: other projects whose services, networks, volumes, secrets and configs become part of this
//! one, with their own folder and variables.

use super::{Assembler, CHAIN, Scope, section};
use crate::plan::compose::path;
use crate::plan::compose::problem::Problem;
use crate::plan::compose::tree::{Entry, Node, Value};

impl Assembler<'_> {
    /// Takes what a canonical tree includes into it. `chain`: the files that led here, this one last.
    pub(super) fn include_all(&mut self, tree: &mut Node, scope: &Scope, chain: &[String]) {
        let Some(include) = tree.as_map_mut().and_then(|map| map.remove("include")) else { return };
        let Value::List(includes) = include.node.value else { return };
        for include in includes {
            if let Some(included) = self.included(&include, scope, chain) {
                self.import(tree, &included);
            }
        }
    }

    fn included(&mut self, include: &Node, scope: &Scope, chain: &[String]) -> Option<Node> {
        let files = self.repository_files(include.get("path"), scope)?;
        let Some(first) = files.first() else {
            self.log.problem(
                Problem::new(include.place.clone(), "`include` names no file").hint("write `path: FILE`"),
            );
            return None;
        };
        if chain.contains(first) || chain.len() >= CHAIN {
            let message = format!("`{first}` includes itself, by way of {}", chain.join(", "));
            self.log.problem(Problem::new(include.place.clone(), message));
            return None;
        }
        let base = match include.get("project_directory") {
            Some(folder) => self.repository_file(folder, scope)?,
            None => path::folder(first).to_owned(),
        };
        let inner = match include.get("env_file") {
            None => self.scope(&base, &scope.variables),
            Some(env_files) => {
                let mut inner = Scope { base, variables: scope.variables.clone() };
                for file in self.repository_files(Some(env_files), scope)? {
                    match self.file(&file) {
                        Some(bytes) => self.add_variables(&mut inner.variables, &file, &bytes),
                        None => {
                            let message = format!("there is no file {file} in the repository");
                            self.log.problem(Problem::new(env_files.place.clone(), message));
                        }
                    }
                }
                inner
            }
        };
        Some(self.project(&files, &inner, chain, Some(&include.place)))
    }

    fn repository_files(&mut self, node: Option<&Node>, scope: &Scope) -> Option<Vec<String>> {
        let Some(Value::List(items)) = node.map(|node| &node.value) else { return Some(Vec::new()) };
        items.iter().map(|item| self.repository_file(item, scope)).collect()
    }

    fn import(&mut self, tree: &mut Node, included: &Node) {
        for key in ["services", "networks", "volumes", "secrets", "configs"] {
            let found = section(included, key);
            if found.is_empty() {
                continue;
            }
            if tree.get(key).is_none_or(Node::is_null) {
                tree.set(key, Node::map(&included.place));
            }
            let Some(target) = tree.as_map_mut().and_then(|map| map.get_mut(key)?.node.as_map_mut()) else {
                continue;
            };
            for (name, entry) in found {
                match target.get(&name) {
                    None => {
                        target.insert(name, entry);
                    }
                    Some(known) if known.node == entry.node => {}
                    Some(known) => self.log.problem(clash(key, &name, known, &entry)),
                }
            }
        }
    }
}

fn clash(section: &str, name: &str, known: &Entry, included: &Entry) -> Problem {
    let message = format!("`{section}.{name}` is also declared at {}, which is included", included.key);
    let hint = "rename one of them, or change the included one in an overriding file";
    Problem::new(known.key.clone(), message).hint(hint)
}
