//! `extends`: a service that starts from another one, of the same file or of another.

use super::{Assembler, CHAIN, Scope, section};
use crate::plan::compose::canonical::Canonical;
use crate::plan::compose::merge;
use crate::plan::compose::path;
use crate::plan::compose::problem::Problem;
use crate::plan::compose::schema::{SERVICE, Shape};
use crate::plan::compose::suggest;
use crate::plan::compose::tree::{Entry, Map, Node, Value};

static SERVICE_SHAPE: Shape = Shape::Object(&SERVICE);

/// A file that services are taken from.
#[derive(Clone)]
struct Source {
    file: String,
    scope: Scope,
    services: Map,
    /// The services are as written, not canonical: another file's services are only checked when used.
    raw: bool,
}

impl Assembler<'_> {
    /// Gives every service of a canonical tree what it extends.
    pub(super) fn extend_all(&mut self, tree: &mut Node, file: &str, scope: &Scope) {
        let services = section(tree, "services");
        if !services.values().any(|entry| entry.node.get("extends").is_some()) {
            return;
        }
        let source = Source { file: file.to_owned(), scope: scope.clone(), services, raw: false };
        let mut extended = Map::new();
        for (name, entry) in &source.services {
            if let Some(node) = self.extended(&source, name, &entry.node, &mut Vec::new()) {
                extended.insert(name.clone(), Entry { key: entry.key.clone(), node });
            }
        }
        if let Some(entry) = tree.as_map_mut().and_then(|map| map.get_mut("services")) {
            entry.node.value = Value::Map(extended);
        }
    }

    fn extended(
        &mut self,
        source: &Source,
        name: &str,
        service: &Node,
        chain: &mut Vec<(String, String)>,
    ) -> Option<Node> {
        let mut service = service.clone();
        let Some(extends) = service.as_map_mut().and_then(|map| map.remove("extends")) else {
            return Some(service);
        };
        let link = (source.file.clone(), name.to_owned());
        if chain.contains(&link) || chain.len() >= CHAIN {
            let message = format!("`{name}` extends itself, by way of other services");
            self.log
                .problem(Problem::new(extends.key, message).hint("take one `extends` of the circle away"));
            return None;
        }
        chain.push(link);
        let extended = self.base(source, &extends.node, chain).map(|mut base| {
            merge::lay(&mut base, service, Some(&SERVICE_SHAPE));
            base
        });
        chain.pop();
        extended
    }

    /// The service an `extends` names, itself extended.
    fn base(&mut self, source: &Source, extends: &Node, chain: &mut Vec<(String, String)>) -> Option<Node> {
        let Some(wanted) = extends.get("service") else {
            let problem = Problem::new(extends.place.clone(), "`extends` names no service");
            self.log.problem(problem.hint("write `service: NAME`"));
            return None;
        };
        let name = wanted.as_text()?.to_owned();
        let other = match extends.get("file") {
            Some(file) => Some(self.source(file, &source.scope)?),
            None => None,
        };
        let source = other.as_ref().unwrap_or(source);
        let Some(entry) = source.services.get(&name) else {
            let message = format!("`extends` names the service `{name}`, which is not in {}", source.file);
            let problem = Problem::new(wanted.place.clone(), message);
            let near = suggest::nearest(&name, source.services.keys().map(String::as_str));
            self.log.problem(match near {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem,
            });
            return None;
        };
        let mut service = entry.node.clone();
        if source.raw {
            let path = format!("services.{name}");
            let mut canonical = Canonical { base: &source.scope.base, log: &mut self.log };
            service = canonical.value(service, &SERVICE_SHAPE, &path)?;
        }
        self.extended(source, &name, &service, chain)
    }

    fn source(&mut self, named: &Node, scope: &Scope) -> Option<Source> {
        let file = self.repository_file(named, scope)?;
        let scope = Scope { base: path::folder(&file).to_owned(), variables: scope.variables.clone() };
        let mut services = Map::new();
        for document in self.documents(&file, Some(&named.place), &scope)? {
            services.extend(section(&document, "services"));
        }
        Some(Source { file, scope, services, raw: true })
    }
}
