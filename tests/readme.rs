//! What README.md names exists: commands and their flags, scripts, labels, keys, exit codes, files. What the commands
//! print is not compared: it was true on the day it was copied.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use agent::config::Config;
use agent::model::project::{Project, Service};
use agent::plan::labels;

const README: &str = include_str!("../README.md");

/// The blocks fenced as this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let blocks = README.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What is typed at a prompt, without comments.
fn typed() -> Vec<Vec<&'static str>> {
    let lines = blocks("console").into_iter().flat_map(str::lines);
    let commands = lines.filter_map(|line| line.strip_prefix("$ "));
    commands.map(|line| line.split(" #").next().unwrap().split_whitespace().collect()).collect()
}

/// The first two cells of each row of the table with this heading.
fn table(heading: &str) -> BTreeMap<&'static str, &'static str> {
    let rows = README.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|line| line.trim_matches('|').split(" | "));
    let table: BTreeMap<_, _> =
        cells.map(|mut cells| (cells.next().unwrap().trim(), cells.next().unwrap().trim())).collect();
    assert!(!table.is_empty(), "README.md has no table `{heading}`");
    table
}

/// The help of `agent COMMAND`.
fn help(command: &[&str]) -> String {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_agent"));
    let output = agent.args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "agent {command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows `NAME  MEANING` of the section of the help that this line begins.
fn section(heading: &str) -> BTreeMap<String, String> {
    let help = help(&[]);
    let rows = help.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    // A meaning that is too long for a line goes on below its beginning.
    let mut whole: Vec<String> = Vec::new();
    for row in rows {
        match whole.last_mut() {
            Some(last) if row.starts_with("      ") => last.extend([" ", row.trim()]),
            _ => whole.push(row.to_owned()),
        }
    }
    let rows =
        whole.iter().map(|row| row.trim().split_once("  ").unwrap_or_else(|| panic!("`{row}` is no row")));
    rows.map(|(name, meaning)| (name.to_owned(), meaning.trim().to_owned())).collect()
}

/// The words of the README in backticks.
fn quoted() -> BTreeSet<&'static str> {
    let prose = README.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn known_to_the_program(arguments: &[&str]) {
    let (flags, words): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let command = words.first().unwrap_or_else(|| panic!("agent {arguments:?} has no command"));
    let help = help(&[command]);
    for flag in flags {
        assert!(help.contains(flag), "agent {command} has no {flag}");
    }
    if words.len() > 1 {
        let usage = help.lines().find(|line| line.starts_with("Usage:")).unwrap();
        assert_ne!(usage.trim_end(), format!("Usage: agent {command} [OPTIONS]"), "{arguments:?}");
    }
}

fn known_to_a_script(script: &str, arguments: &[&str]) {
    let text = std::fs::read_to_string(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    for flag in arguments {
        assert!(text.contains(&format!("\n{flag})")), "{script} has no {flag}");
    }
}

#[test]
fn every_command_shown_can_be_typed() {
    let mut commands = typed();
    commands.extend(quoted().into_iter().map(|text| text.split_whitespace().collect::<Vec<_>>()));
    let mut seen = 0;
    for command in &commands {
        match command.as_slice() {
            ["agent", rest @ ..] if !rest.is_empty() => known_to_the_program(rest),
            [script, rest @ ..] if script.starts_with("script/") => known_to_a_script(script, rest),
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} commands found in README.md");
}

#[test]
fn the_table_of_commands_is_the_programs_own() {
    let mut commands = section("Commands:");
    commands.remove("help");
    let shown = table("command").into_iter().map(|(name, meaning)| {
        (name.trim_matches('`').trim_start_matches("agent ").to_owned(), meaning.to_owned())
    });
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), commands);
}

#[test]
fn the_manual_says_of_each_command_what_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_agent")).arg("man").arg(folder.path()).status().unwrap();
    assert!(made.success());
    let whole = std::fs::read_to_string(folder.path().join("agent.1")).unwrap();
    for code in section("Exit codes:").keys() {
        // A line that is not indented would be filled into the one before.
        let line =
            whole.lines().find(|line| line.trim_start().starts_with(&format!("{code}  "))).expect(code);
        assert!(line.starts_with("  "), "{line}");
    }
    for (name, meaning) in table("command") {
        let name = name.trim_matches('`').replace(' ', "-");
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).expect(&name);
        let page = page.replace("\\-", "-").replace("\\*(Aq", "'");
        assert!(page.contains(&format!("\n{name} - {meaning}\n")), "{name}: {page}");
        // Title, section, date, version: the footer has each in its place.
        let title = format!(".TH {name} 1 \" \" \"agent {}\"", env!("CARGO_PKG_VERSION"));
        assert!(page.lines().any(|line| line.trim_end() == title), "{title}: {page}");
    }
}

#[test]
fn the_table_of_exit_codes_is_the_programs_own() {
    let shown = table("exit code").into_iter().map(|(code, meaning)| (code.to_owned(), meaning.to_owned()));
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), section("Exit codes:"));
}

/// What the agent says of this label on a service.
fn verdict(label: &str) -> Option<String> {
    let service = Service {
        name: "web".into(),
        labels: [(label.to_owned(), "x".to_owned())].into(),
        ..Service::default()
    };
    let project = Project { services: [("web".to_owned(), service)].into(), ..Project::default() };
    labels::unknown(&project)
        .pop()
        .map(|problem| format!("{} {}", problem.message, problem.hint.unwrap_or_default()))
}

#[test]
fn the_table_of_labels_is_complete_and_holds_no_other() {
    let shown: BTreeSet<&str> = table("label").into_keys().map(|label| label.trim_matches('`')).collect();
    let named = quoted()
        .into_iter()
        .filter(|text| text.starts_with("agent.") && *text != "agent.toml" && *text != "agent.");
    for label in named.chain(shown.iter().copied()) {
        assert_eq!(verdict(label), None);
    }
    // An unknown label is refused with the list of those that are known: `a, b, agent.route.{c, d}`.
    let refusal = verdict("agent.something-else-altogether").unwrap();
    let (_, known) = refusal.split_once("known are ").unwrap();
    let (plain, fields) = known.split_once("agent.route.{").unwrap();
    let plain = plain.split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
    let fields = fields.trim_end_matches('}').split(", ").map(|field| format!("agent.route.{field}"));
    let known: BTreeSet<String> = plain.chain(fields).collect();
    assert_eq!(shown, known.iter().map(String::as_str).collect());
}

#[test]
fn the_configuration_shown_is_accepted() {
    // A whole one, then what may be added to it.
    let text = blocks("toml").concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(config.stack.name, "shop");
    assert_eq!(config.stripe.open().count(), 1);
}

#[test]
fn every_file_named_is_there() {
    let linked = README.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
    let installed = typed().into_iter().filter(|words| words[0] == "install");
    let installed = installed.map(|words| words[words.len() - 2]).filter(|path| !path.starts_with("target/"));
    let files: Vec<&str> = linked.filter(|link| !link.contains("://")).chain(installed).collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "README.md names {file}");
    }
}
