//! `.dockerignore`: which paths of a build context are left out, decided as `docker build` decides it.
//!
//! The rules are those of BuildKit's sender: one pattern a line, matched from the context's root, later lines
//! win, `!` takes back, and a pattern that matches a folder covers what is inside. The older builder gives up
//! on a whole excluded folder too early when a `!` line holds a wildcard; that is not copied.
//!
//! Pure text: reads no file and knows nothing of Git.

mod glob;

use glob::Glob;

/// The parsed lines of one file, in order.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    glob: Glob,
    /// A `!` line: takes back what earlier lines excluded.
    restores: bool,
}

/// A line that no builder would accept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}`: {why}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    pub text: String,
    pub why: &'static str,
}

/// Which rules already matched a folder: what is inside inherits them.
#[derive(Clone, Debug, Default)]
pub struct Inherited(Vec<bool>);

impl Ignore {
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Only a `#` in the first column opens a comment: this is tested before trimming.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let bad = |why| BadLine { line: index + 1, text: line.trim().to_owned(), why };
            let (restores, pattern) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            if pattern.is_empty() {
                return Err(bad("`!` must be followed by a pattern"));
            }
            rules.push(Rule { glob: Glob::parse(&clean(pattern)).map_err(bad)?, restores });
        }
        Ok(Self { rules })
    }

    /// True when nothing under an excluded folder can come back, so that it need not be looked into.
    pub fn is_final(&self) -> bool {
        !self.rules.iter().any(|rule| rule.restores)
    }

    /// Whether `path` (slash-separated, relative to the context) is left out, and what its children inherit.
    /// `parent` is the answer for the folder that holds it, the default at the root.
    ///
    /// A rule is only looked at when it could change the verdict so far, and a rule not looked at is not
    /// inherited: that is how the builder does it, and it shows in corner cases such as `*/x` then `!a`.
    pub fn judge(&self, path: &str, parent: &Inherited) -> (bool, Inherited) {
        let chars: Vec<char> = path.chars().collect();
        let mut excluded = false;
        let mut matched = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            let hit = inherited || (rule.restores == excluded && rule.glob.matches(&chars));
            if hit {
                excluded = !rule.restores;
            }
            matched.push(hit);
        }
        (excluded, Inherited(matched))
    }
}

/// Removes `.`, `..`, doubled and trailing slashes by text alone, and the leading slash: `/x` is `x`.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    // The root itself: a name that no path has, because nobody can exclude the whole context this way.
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests;
