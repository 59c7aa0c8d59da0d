//! Problems with a configuration, as people and as logs see them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mask::mask;
use crate::model::place::Place;

/// What the reader and the checks find: a problem before it has a file around it.
#[derive(Debug)]
pub(super) struct Finding {
    /// Dotted, as in `roll.settle`; empty where the text is not TOML at all.
    pub(super) key: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Bytes of the text; none for what is missing from it.
    pub(super) span: Option<Range<usize>>,
}

/// One thing that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line 0 where the problem is something missing.
    pub place: Place,
    /// Dotted, as in `roll.settle`; empty where the text is not TOML at all.
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
    span: Option<Range<usize>>,
}

impl std::fmt::Display for Problem {
    /// One line, for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.title())?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

impl Problem {
    fn new(path: &Path, text: &str, finding: Finding) -> Self {
        let (line, column) = finding.span.as_ref().map_or((0, 0), |span| {
            let before = text.get(..span.start).unwrap_or(text);
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
        });
        Self {
            place: Place::new(path.display().to_string(), line, column),
            key: finding.key,
            message: mask(&finding.message),
            hint: finding.hint,
            span: finding.span,
        }
    }

    fn title(&self) -> String {
        if self.key.is_empty() { self.message.clone() } else { format!("{}: {}", self.key, self.message) }
    }

    fn group<'a>(&'a self, text: &'a str) -> Group<'a> {
        let title = Level::ERROR.primary_title(self.title());
        let shown = match &self.span {
            Some(span) => {
                let mark = AnnotationKind::Primary.span(span.clone());
                title.element(Snippet::source(text).path(self.place.file.as_str()).annotation(mark))
            }
            None => title.element(Origin::path(self.place.file.as_str())),
        };
        match &self.hint {
            Some(hint) => shown.element(Level::HELP.message(hint.as_str())),
            None => shown,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no configuration file")]
    NotFound { tried: Vec<PathBuf> },
    #[error("the configuration {path} cannot be read")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the configuration {path} has {}", count(problems))]
    Invalid {
        path: PathBuf,
        /// In the order of the file.
        problems: Vec<Problem>,
        /// The file's text with secrets blotted out, for showing the lines.
        text: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(path: &Path, text: &str, mut findings: Vec<Finding>) -> Self {
        // What is missing comes first: it has no line.
        findings.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        let problems = findings.into_iter().map(|finding| Problem::new(path, text, finding)).collect();
        Self::Invalid { path: path.to_owned(), problems, text: mask(text) }
    }

    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }

    /// Every problem with its line shown and marked, for people; empty for the other variants.
    pub fn render(&self, colour: bool) -> String {
        let Self::Invalid { problems, text, .. } = self else { return String::new() };
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let shown = problems.iter().map(|problem| renderer.render(&[problem.group(text)]).to_string());
        shown.collect::<Vec<_>>().join("\n\n")
    }

    /// How to mend it, where that is not part of each problem.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { tried } => {
                let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
                Some(format!("write {}, or name a file with --config or AGENT_CONFIG", tried.join(" or ")))
            }
            Self::Unreadable { path, .. } => {
                Some(format!("check that {} is a text file the agent's user may read", path.display()))
            }
            Self::Invalid { .. } => None,
        }
    }
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    }
}
