//! Who may import whom: the rooms of `src/` and the arrows between them, held against the text of every file. Looks
//! at what ships; code behind `#[cfg(test)]` may use what it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A room and the rooms it may name. `report` is free to all. Anything not here is forbidden, a new room too until
/// its arrows are drawn.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("report", &[]),
    ("store", &[]),
    ("http", &[]),
    ("plan", &["model"]),
    ("config", &["model"]),
    ("engine", &["model"]),
    ("source", &["model"]),
    ("record", &["model", "plan", "store"]),
    ("build", &["engine", "model", "plan"]),
    ("roll", &["engine", "model", "plan"]),
    ("route", &["engine", "model", "plan"]),
    ("clearance", &["http", "model"]),
    ("trigger", &["http", "model", "store"]),
    // Its turns follow the configuration's values; they are handed to every other room one by one.
    (
        "reconcile",
        &[
            "build",
            "clearance",
            "config",
            "engine",
            "model",
            "plan",
            "record",
            "roll",
            "route",
            "source",
            "trigger",
        ],
    ),
    ("orders", &["model", "record", "store", "trigger"]),
    ("overview", &["model", "reconcile", "record"]),
    ("inbox", &["http", "store"]),
    ("metrics", &["inbox", "model", "overview", "record"]),
    // Reads what happened; nothing in a run knows of it.
    ("outbox", &["http", "model", "overview", "reconcile", "record", "store"]),
    (
        "dashboard",
        &["config", "http", "inbox", "model", "orders", "overview", "plan", "reconcile", "record", "store"],
    ),
    (
        "app",
        &[
            "build",
            "clearance",
            "config",
            "dashboard",
            "engine",
            "http",
            "inbox",
            "metrics",
            "model",
            "orders",
            "outbox",
            "overview",
            "plan",
            "reconcile",
            "record",
            "roll",
            "route",
            "source",
            "store",
            "trigger",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "dashboard",
            "http",
            "inbox",
            "model",
            "orders",
            "overview",
            "plan",
            "reconcile",
            "record",
            "source",
            "store",
            "trigger",
        ],
    ),
];

/// The files that belong to no room: they may name every one.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Rooms that decide and do nothing else, and what would make them do more.
const PURE: [&str; 2] = ["model", "plan"];
const IMPURE: [&str; 11] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "tokio",
];

struct File {
    /// Relative to `src`.
    path: PathBuf,
    text: String,
}

impl File {
    fn room(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str().to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many names lead from the crate's root to this file's module.
    fn depth(&self) -> usize {
        self.path.components().count()
    }
}

/// The shipped code of a file with comments and the insides of texts blanked, line for line.
fn shipped(text: &str) -> String {
    let mut code = blank(text);
    if let Some(start) = code.find("#[cfg(test)]\nmod tests") {
        code.truncate(start);
    }
    code
}

/// Replaces comments and the insides of string literals by nothing, keeping line ends, so that a path that is only
/// spoken of is no import and a `//` inside a text ends no line.
fn blank(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest).filter(|_| !out.ends_with(is_word)) {
            length
        } else if c == '"' {
            plain_text(rest)
        } else if rest.starts_with("'\"'") {
            // A quote as a character opens no text.
            3
        } else if rest.starts_with("'\\") {
            rest[3..].find('\'').map_or(rest.len(), |end| end + 4)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

/// The length of a raw string literal at the beginning of `rest`.
fn raw_text(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + length)
}

/// The length of a string literal at the beginning of `rest`, quotes included.
fn plain_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The first names after each `crate::` of the code, also in `crate::{a, b::{c}}`, with the line they stand on.
fn named(code: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| is_word(c) || c == '$') {
            continue;
        }
        let start = at + root.len();
        let Some(group) = code[start..].strip_prefix('{') else {
            out.push((line_of(code, at), word(&code[start..]).to_owned()));
            continue;
        };
        let mut depth = 0usize;
        let mut fresh = true;
        for (offset, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if fresh && is_word(c) => {
                    out.push((line_of(code, start + 1 + offset), word(&group[offset..]).to_owned()));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    out
}

/// Lines where a row of `super::` climbs out of the file's own room. An indented row may stand in a module inside
/// the file, one deeper.
fn climbs(file: &File, code: &str) -> Vec<usize> {
    let over = |line: &str| {
        let inner = usize::from(line.starts_with(' '));
        let longest =
            line.split(|c: char| !is_word(c) && c != ':').map(|path| path.matches("super::").count()).max();
        longest.unwrap_or(0) >= file.depth() + inner
    };
    code.lines().enumerate().filter(|(_, line)| over(line)).map(|(index, _)| index + 1).collect()
}

fn violations(files: &[File]) -> Vec<String> {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut out = Vec::new();
    for file in files {
        let (room, shown) = (file.room(), file.path.display());
        if file.path.file_name().is_some_and(|name| name == "mod.rs") {
            out.push(format!(
                "src/{shown}: write a module's root as a file beside its folder, not as mod.rs"
            ));
        }
        // A file of its own for tests, declared behind `#[cfg(test)]` by the room, or one below it.
        let mut names = file.path.iter().filter_map(|name| Path::new(name).file_stem());
        if ROOTS.contains(&room) || names.any(|name| name == "tests") {
            continue;
        }
        let Some(allowed) = arrows.get(room) else {
            out.push(format!(
                "src/{shown}: the room `{room}` has no arrows yet; draw them in tests/layers.rs"
            ));
            continue;
        };
        let code = shipped(&file.text);
        for (line, other) in named(&code) {
            if other != room && other != "report" && !allowed.contains(&&*other) {
                out.push(format!("src/{shown}:{line}: `{room}` must not know `{other}`"));
            }
        }
        for line in climbs(file, &code) {
            out.push(format!(
                "src/{shown}:{line}: `super` leads out of `{room}`; write crate:: so that it shows"
            ));
        }
        for (index, line) in code.lines().enumerate().filter(|_| PURE.contains(&room)) {
            for thing in IMPURE.iter().filter(|thing| line.contains(**thing)) {
                out.push(format!("src/{shown}:{}: `{room}` is pure and must not use {thing}", index + 1));
            }
        }
    }
    out
}

fn sources(folder: &Path, root: &Path, out: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, root, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            out.push(File { path: path.strip_prefix(root).unwrap().to_owned(), text });
        }
    }
}

#[test]
fn every_import_follows_an_arrow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &root, &mut files);
    assert!(files.iter().any(|file| file.room() == "lib"), "the sources were not found");
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn arrows_lead_one_way_and_to_rooms_that_exist() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    assert_eq!(arrows.len(), ARROWS.len(), "a room stands in the table twice");
    fn reach<'a>(arrows: &BTreeMap<&'a str, &'a [&'a str]>, room: &'a str, path: &mut Vec<&'a str>) {
        assert!(!path.contains(&room), "a circle: {path:?} and again {room}");
        path.push(room);
        for next in arrows.get(room).unwrap_or_else(|| panic!("{room} has no line of its own")).iter() {
            reach(arrows, next, path);
        }
        path.pop();
    }
    for (room, _) in ARROWS {
        reach(&arrows, room, &mut Vec::new());
    }
}

fn found(path: &str, text: &str) -> Vec<String> {
    violations(&[File { path: path.into(), text: text.to_owned() }])
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    let expected = ["src/plan/diff.rs:2: `plan` must not know `engine`"];
    for text in [
        "\nuse crate::engine::Engine;\n",
        "\nfn f(e: &crate::engine::Docker) {}\n",
        "use crate::{model::{Place, class},\n engine};\n",
        "use crate::{\nengine::{a, b}, model};\n",
        "let s = \"// not a comment\";\nuse crate::engine;\n",
        "let s = r#\"a \" b\"#; let c = ['\"', '\\'', '\"'];\nuse crate::engine;\n",
    ] {
        assert_eq!(found("plan/diff.rs", text), expected, "{text}");
    }
    assert_eq!(
        found("plan.rs", "use super::engine;"),
        ["src/plan.rs:1: `super` leads out of `plan`; write crate:: so that it shows"]
    );
    assert_eq!(found("plan/a/b.rs", "use super::super::super::engine;").len(), 1);
}

#[test]
fn what_is_allowed_spoken_of_or_only_tested_is_let_be() {
    for text in [
        "use crate::plan::order; use crate::model::Place; use crate::report::line;",
        "// crate::engine, std::fs\n/// See [`crate::engine`].\n/* crate::engine\n tokio */",
        "let hint = \"crate::engine\\\" tokio\"; let raw = r\"std::fs\";",
        "mod_crate::engine::x(); $crate::engine!();",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::engine; use std::fs;\n}\n",
        "use super::order;",
    ] {
        assert_eq!(found("plan/diff.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(found("plan/diff/tests.rs", "use std::fs;"), Vec::<String>::new());
    assert_eq!(found("plan/diff/tests/order.rs", "use std::fs;"), Vec::<String>::new());
}

#[test]
fn a_pure_room_that_acts_a_new_room_and_mod_rs_are_found() {
    assert_eq!(
        found("model/run.rs", "use std::fs::File;"),
        ["src/model/run.rs:1: `model` is pure and must not use std::fs"]
    );
    assert_eq!(
        found("plan.rs", "\nlet now = Instant::now();"),
        ["src/plan.rs:2: `plan` is pure and must not use Instant::now"]
    );
    assert_eq!(found("store.rs", "use std::fs::File; let now = Instant::now();"), Vec::<String>::new());
    assert_eq!(
        found("kitchen.rs", ""),
        ["src/kitchen.rs: the room `kitchen` has no arrows yet; draw them in tests/layers.rs"]
    );
    assert_eq!(
        found("plan/mod.rs", ""),
        ["src/plan/mod.rs: write a module's root as a file beside its folder, not as mod.rs"]
    );
}
