//! Which images a Dockerfile starts from. Nothing else of it is understood here: building is the builder's.

use std::collections::{BTreeMap, BTreeSet};

/// The images named by `FROM` and `COPY --from=` that are not stages of the file itself, sorted.
///
/// `arguments` are the build arguments, which win over the defaults of `ARG` lines before the first `FROM`.
/// A reference that still holds a `$` (an argument nobody set) is left out: the builder will say so better.
pub fn bases(dockerfile: &str, arguments: &BTreeMap<String, String>) -> Vec<String> {
    let mut values = BTreeMap::new();
    let mut stages = BTreeSet::new();
    let mut found = BTreeSet::new();
    for line in instructions(dockerfile) {
        let mut words = line.split_whitespace();
        let Some(keyword) = words.next() else { continue };
        match keyword.to_ascii_uppercase().as_str() {
            "ARG" if stages.is_empty() && found.is_empty() => {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let value = arguments.get(name).cloned();
                    let value = value.unwrap_or_else(|| default.trim_matches(['"', '\'']).to_owned());
                    values.insert(name.to_owned(), value);
                }
            }
            "FROM" => {
                let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
                if let Some(image) = words.first() {
                    keep(&substitute(image, &values), &stages, &mut found);
                }
                if let [_, word, stage, ..] = words[..]
                    && word.eq_ignore_ascii_case("as")
                {
                    stages.insert(stage.to_ascii_lowercase());
                }
            }
            "COPY" | "ADD" | "RUN" => {
                for word in words {
                    for from in references(word) {
                        keep(from, &stages, &mut found);
                    }
                }
            }
            _ => {}
        }
    }
    found.into_iter().collect()
}

/// `--from=X` of COPY, and `--mount=type=bind,from=X,…` of RUN.
fn references(word: &str) -> impl Iterator<Item = &str> {
    let copy = word.strip_prefix("--from=").into_iter();
    let mount = word.strip_prefix("--mount=").into_iter();
    copy.chain(mount.flat_map(|options| options.split(',').filter_map(|o| o.strip_prefix("from="))))
}

fn keep(image: &str, stages: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let stage = stages.contains(&image.to_ascii_lowercase()) || image.bytes().all(|b| b.is_ascii_digit());
    if !stage && image != "scratch" && !image.contains('$') {
        found.insert(image.to_owned());
    }
}

/// `$NAME`, `${NAME}` and `${NAME:-default}`.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, default, after) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((inside, after)) => {
                let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
                (name, default, after)
            }
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (&rest[..end], "", &rest[end..])
            }
        };
        match values.get(name).map(String::as_str).filter(|value| !value.is_empty()) {
            Some(value) => out.push_str(value),
            None if !default.is_empty() => out.push_str(default),
            None => out.push('$'),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Logical lines: comments dropped, continuations joined.
fn instructions(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(part) => {
                open.push_str(part);
                open.push(' ');
            }
            None => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    lines.push(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        bases(text, &BTreeMap::new())
    }

    #[test]
    fn stages_are_not_bases() {
        let text = "FROM node:20-slim AS assets\nRUN npm ci\nFROM python:3.11-slim\nCOPY --from=assets /a /b\nCOPY --from=0 /a /b\n";
        assert_eq!(of(text), ["node:20-slim", "python:3.11-slim"]);
    }

    #[test]
    fn images_copied_from_and_mounted_are_bases() {
        let text = "from scratch\nCOPY --from=nginx:1.26 /etc /etc\nRUN --mount=type=bind,from=busybox:1,target=/b true\n";
        assert_eq!(of(text), ["busybox:1", "nginx:1.26"]);
    }

    #[test]
    fn arguments_before_the_first_from_are_filled_in() {
        let text =
            "ARG TAG=3.11\nARG VARIANT\nFROM --platform=$BUILDPLATFORM python:${TAG}-${VARIANT:-slim} AS x\n";
        assert_eq!(of(text), ["python:3.11-slim"]);
        let given = [("TAG".to_owned(), "3.12".to_owned())].into();
        assert_eq!(bases(text, &given), ["python:3.12-slim"]);
    }

    #[test]
    fn an_argument_nobody_set_is_left_to_the_builder() {
        assert!(of("ARG BASE\nFROM $BASE\n").is_empty());
    }

    #[test]
    fn comments_and_continued_lines_are_read_as_docker_does() {
        assert_eq!(of("# FROM a\nFROM \\\n  # in between\n  b:1 \\\n AS x\n"), ["b:1"]);
    }
}
