//! The compose loader against the reference implementation: what both make of the same files must be equal,
//! and what is refused must be refused in words a person can act on.
//!
//! Fixtures are text: options first, then files, each after a line `-- PATH --`. Options: `paths: A B`
//! (the first file), `profiles: A B`, `env: NAME=VALUE` (as often as needed), and in `broken/`
//! `reference: accepts` where the loader is stricter on purpose, with the reason.

// The lint knows tests, but not the helpers of a test binary.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::plan::compose::{Loaded, Problem, Request, load, support_table, to_json};
use serde_json::Value;

const NAME: &str = "demo";

struct Fixture {
    name: String,
    paths: Vec<String>,
    profiles: Vec<String>,
    environment: BTreeMap<String, String>,
    stricter: bool,
    files: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let mut fixture = Self {
            name,
            paths: Vec::new(),
            profiles: Vec::new(),
            environment: BTreeMap::new(),
            stricter: false,
            files: BTreeMap::new(),
        };
        let mut current: Option<String> = None;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")) {
                fixture.files.insert(path.to_owned(), Vec::new());
                if fixture.paths.is_empty() {
                    fixture.paths.push(path.to_owned());
                }
                current = Some(path.to_owned());
            } else if let Some(path) = &current {
                let content = fixture.files.get_mut(path).unwrap();
                content.extend(line.as_bytes());
                content.push(b'\n');
            } else {
                fixture.option(line);
            }
        }
        assert!(!fixture.files.is_empty(), "{} has no files", file.display());
        fixture
    }

    fn option(&mut self, line: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        match line.split_once(": ") {
            Some(("paths", list)) => self.paths = words(list),
            Some(("profiles", list)) => self.profiles = words(list),
            Some(("env", pair)) => {
                let (name, value) = pair.split_once('=').unwrap();
                self.environment.insert(name.to_owned(), value.to_owned());
            }
            Some(("reference", rest)) => self.stricter = rest.starts_with("accepts"),
            _ => assert!(line.trim().is_empty() || line.starts_with('#'), "{}: `{line}`", self.name),
        }
    }

    fn all(folder: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose").join(folder);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        load(&Request {
            files: &self.files,
            paths: &self.paths,
            name: NAME,
            profiles: &self.profiles,
            environment: &self.environment,
        })
    }

    /// What the reference makes of it, with paths shown as the loader shows them; or its error.
    fn reference(&self) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (path, content) in &self.files {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        let first = root.join(&self.paths[0]);
        let mut command = Command::new(reference_program());
        command.env_clear().envs(&self.environment).current_dir(first.parent().unwrap());
        command.args(["--project-name", NAME]);
        for path in &self.paths {
            command.arg("--file").arg(root.join(path));
        }
        for profile in &self.profiles {
            command.args(["--profile", profile]);
        }
        let output = command.args(["config", "--format", "json"]).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut value = serde_json::from_slice(&output.stdout).unwrap();
        normalise(&mut value, root.to_str().unwrap(), true);
        Ok(value)
    }
}

/// The program `script/reference-compose` puts in place, or the one that is named.
fn reference_program() -> PathBuf {
    let named = std::env::var_os("REFERENCE_COMPOSE").map(PathBuf::from);
    let program = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference/docker-compose"));
    assert!(
        program.is_file(),
        "the reference implementation is not at {}: run script/reference-compose, or name a docker-compose (v2) \
         program in REFERENCE_COMPOSE",
        program.display()
    );
    program
}

/// Paths relative to the root; no extensions, because the model does not keep them; no empty sections of
/// a mount, which some ways of writing it leave behind.
fn normalise(value: &mut Value, root: &str, keys: bool) {
    match value {
        Value::String(text) => {
            if text == root {
                ".".clone_into(text);
            } else if let Some(rest) = text.strip_prefix(&format!("{root}/")) {
                *text = format!("./{rest}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| normalise(item, root, keys)),
        Value::Object(map) => {
            if keys {
                let empty = Value::Object(serde_json::Map::new());
                map.retain(|key, item| {
                    !(key.starts_with("x-") || ["bind", "volume"].contains(&key.as_str()) && *item == empty)
                });
            }
            for (key, item) in map {
                let free = ["environment", "labels", "args", "options", "driver_opts", "sysctls"];
                normalise(item, root, !free.contains(&key.as_str()));
            }
        }
        _ => {}
    }
}

/// Where two values differ, one line each.
fn differences(path: &str, ours: &Value, theirs: &Value, out: &mut String) {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => differences(&path, one, other, out),
                    (one, other) => writeln!(out, "  {path}: ours {one:?}, theirs {other:?}").unwrap(),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}[{index}]"), one, other, out);
            }
        }
        _ if ours == theirs => {}
        _ => writeln!(out, "  {path}: ours {ours}, theirs {theirs}").unwrap(),
    }
}

#[test]
fn the_loader_agrees_with_the_reference() {
    let mut report = String::new();
    let fixtures = Fixture::all("agree");
    for fixture in &fixtures {
        let theirs = match fixture.reference() {
            Ok(value) => value,
            Err(error) => {
                writeln!(report, "{}: the reference refuses it: {error}", fixture.name).unwrap();
                continue;
            }
        };
        match fixture.load() {
            Ok(loaded) => {
                let mut found = String::new();
                differences("", &to_json(&loaded.project), &theirs, &mut found);
                if !found.is_empty() {
                    writeln!(report, "{}:\n{found}", fixture.name).unwrap();
                }
            }
            Err(problems) => {
                writeln!(report, "{}: the loader refuses it:", fixture.name).unwrap();
                problems.iter().for_each(|problem| writeln!(report, "  {problem}").unwrap());
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(fixtures.len() >= 25, "only {} fixtures", fixtures.len());
}

#[test]
fn broken_files_are_refused_in_words_to_act_on() {
    let mut said = String::new();
    for fixture in Fixture::all("broken") {
        match (fixture.reference(), fixture.stricter) {
            (Ok(_), false) => panic!("{}: the reference accepts it", fixture.name),
            (Err(error), true) => panic!("{}: the reference refuses it too: {error}", fixture.name),
            _ => {}
        }
        let Err(problems) = fixture.load() else { panic!("{}: the loader accepts it", fixture.name) };
        writeln!(said, "{}", fixture.name).unwrap();
        for problem in problems {
            writeln!(said, "  {}: {}", problem.place, problem.message).unwrap();
            problem.hint.iter().for_each(|hint| writeln!(said, "    hint: {hint}").unwrap());
        }
    }
    insta::with_settings!({ snapshot_path => "compose/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("broken", said);
    });
}

#[test]
fn the_published_support_table_is_what_the_loader_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compose.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (prose, table) = text.split_once("\n## Every key\n").unwrap();
    let expected = support_table();
    if table != expected && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{prose}\n## Every key\n{expected}")).unwrap();
        return;
    }
    assert!(
        table == expected,
        "docs/compose.md is out of date: run this test with UPDATE_DOCS=1 and look at it"
    );
}
