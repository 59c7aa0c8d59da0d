//! What the whole loader promises beside agreeing with the reference: warnings, what it read, and that no
//! text makes it fall over.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::project::{FileContent, MountSource};

fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn load_files(given: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let environment = BTreeMap::from([("TOKEN".to_owned(), "s3cret".to_owned())]);
    load(&Request {
        files: &files(given),
        paths: &[given[0].0.to_owned()],
        name: "demo",
        profiles: &[],
        environment: &environment,
    })
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect()
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let text = "version: '3'\nname: other\nservices:\n  a:\n    image: \"x:${TAG}\"\n    init: yes\n    \
                develop: {watch: []}\n    deploy: {placement: {}}\n";
    let loaded = load_files(&[("compose.yaml", text)]).unwrap();
    insta::assert_snapshot!(said(&loaded.warnings).join("\n"), @r"
    compose.yaml:1:1: `version` has no effect: it is obsolete: remove it
    compose.yaml:2:7: the file calls the project `other`; it runs as `demo`
    compose.yaml:5:12: the variable `TAG` is not set; an empty text stands in for it
    compose.yaml:6:11: `services.a.init` is `yes`, taken as `true`
    compose.yaml:7:5: `services.a.develop` has no effect: it is for `docker compose watch`
    compose.yaml:8:14: `services.a.deploy.placement` has no effect: it matters on a swarm only
    ");
    assert_eq!(loaded.project.name, "demo");
}

#[test]
fn every_file_asked_for_is_listed() {
    let loaded = load_files(&[
        ("stack/compose.yaml", "include: [../more/c.yaml]\nservices: {a: {image: x, env_file: [{path: e.env, required: false}], extends: {file: base.yaml, service: b}}}"),
        ("stack/base.yaml", "services: {b: {image: y}}"),
        ("more/c.yaml", "services: {c: {image: z}}"),
    ])
    .unwrap();
    let expected =
        ["more/.env", "more/c.yaml", "stack/.env", "stack/base.yaml", "stack/compose.yaml", "stack/e.env"];
    assert_eq!(loaded.read, expected);
}

#[test]
fn paths_and_places_are_those_of_the_repository() {
    let text = "services:\n  a:\n    build: ./app\n    volumes: [\"./conf:/c:ro\", \"/srv:/s\"]\n    labels:\n      route: /x\n";
    let project = load_files(&[("stack/compose.yaml", text)]).unwrap().project;
    let service = &project.services["a"];
    assert_eq!(service.place.to_string(), "stack/compose.yaml:2:3");
    assert_eq!(service.label_places["route"].to_string(), "stack/compose.yaml:6:7");
    assert_eq!(service.build.as_ref().unwrap().context, "stack/app");
    assert_eq!(service.volumes[0].source, MountSource::Repository("stack/conf".to_owned()));
    assert_eq!(service.volumes[0].place.to_string(), "stack/compose.yaml:4:15");
    assert_eq!(service.volumes[1].source, MountSource::Host("/srv".to_owned()));
}

#[test]
fn a_secret_from_a_variable_is_resolved_but_not_shown() {
    let text = "services: {a: {image: x, secrets: [t]}}\nsecrets: {t: {environment: TOKEN}}";
    let project = load_files(&[("compose.yaml", text)]).unwrap().project;
    let expected =
        FileContent::Environment { variable: "TOKEN".to_owned(), value: Some("s3cret".to_owned()) };
    assert_eq!(project.secrets["t"].content, expected);
    assert!(!to_json(&project).to_string().contains("s3cret"));
}

#[test]
fn a_message_about_variables_shows_no_value() {
    let service = "services: {a: {image: x, env_file: e.env}}";
    for line in ["PASSWORD=pa$$s3cret $", "PASSWORD=\"s3cret\" s3cret", "PASSWORD='s3cret"] {
        let problems = load_files(&[("compose.yaml", service), ("e.env", line)]).unwrap_err();
        assert_eq!(problems.len(), 1, "{line}");
        assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
    }
}

#[test]
fn hostile_files_are_refused_and_not_copied_out() {
    let bomb = (1..=12).fold("a0: &a0 x\n".to_owned(), |text, i| {
        let last = format!("*a{}, ", i - 1).repeat(9);
        format!("{text}a{i}: &a{i} [{last}]\n")
    });
    let deep = format!("services: {}{}", "[".repeat(100), "]".repeat(100));
    let deeper = "- ".repeat(100_000);
    let chain =
        (1..=200).fold("a0: &a0 [x]\n".to_owned(), |text, i| format!("{text}a{i}: &a{i} [*a{}]\n", i - 1));
    let long = format!("services: {{a: {{image: \"{}\"}}}}", "x".repeat(1 << 20));
    for (text, expected) in [
        (bomb, "aliases are copied in"),
        (deep, "levels deep"),
        (deeper, "levels deep"),
        (chain, "levels deep"),
        (long, "larger than 1 MiB"),
        ("a: &a [*a]".to_owned(), "alias"),
    ] {
        let problems = load_files(&[("compose.yaml", &text)]).unwrap_err();
        assert!(problems[0].message.contains(expected), "{expected}: {}", problems[0]);
    }
}

#[test]
fn a_circle_of_a_thousand_services_is_found() {
    let services: String =
        (0..1_000).map(|i| format!("  s{i}: {{image: x, depends_on: [s{}]}}\n", (i + 1) % 1_000)).collect();
    let problems = load_files(&[("compose.yaml", &format!("services:\n{services}"))]).unwrap_err();
    assert_eq!(problems.len(), 1);
}

#[test]
fn the_same_files_load_to_the_same_project() {
    let given =
        [("compose.yaml", "services: {b: {image: x, environment: [B=1, A=2]}, a: {image: y, ports: [80]}}")];
    let (one, other) = (load_files(&given).unwrap(), load_files(&given).unwrap());
    assert_eq!(one.project, other.project);
    assert_eq!(to_json(&one.project).to_string(), to_json(&other.project).to_string());
}

/// Text that is nearly a compose file: keys and values of one, in every wrong place.
fn nearly_compose() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "services",
        "a",
        "image",
        "build",
        "ports",
        "volumes",
        "environment",
        "depends_on",
        "networks",
        "extends",
        "include",
        "secrets",
        "deploy",
        "healthcheck",
        "test",
        "command",
        "<<",
        "*x",
        "&x",
        "!reset",
        "!override",
        "- ",
        "- ",
        "80:80",
        "./a:/b",
        "${A:-b}",
        "${",
        "~",
        "null",
        "true",
        "1.5",
        "-1",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ": ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        ", ",
        "\"",
        "'",
        "|",
        "---\n",
        "é",
        "target",
        "source",
        "type",
        "bind",
        "99999999999999999999",
        "1e400",
        "0x",
        "ulimits",
        "mem_limit",
        "10g",
        "interval",
        "5s",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in nearly_compose()) {
        let _ = load_files(&[("compose.yaml", &text), (".env", &text), ("a", &text)]);
        let inside = format!("services:\n  a:\n    image: x\n    {}", text.replace('\n', "\n    "));
        let _ = load_files(&[("compose.yaml", &inside)]);
    }
}
