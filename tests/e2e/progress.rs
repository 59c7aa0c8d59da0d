//! What a person sees who waits for a run: its steps as they happen, in a pipe and on a terminal, and one object for a
//! program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::World;

fn agent(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(arguments).arg("--config").arg(world.path().join("agent.toml")).stdin(Stdio::null());
    command
}

#[test]
fn a_run_is_told_step_by_step_while_it_goes_on() {
    let world = World::live_at_once();
    let second = world.push_version("web", 2);
    let mut waiting = agent(&world, &["deploy"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told: Vec<String> = Vec::new();
    for line in BufReader::new(waiting.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("#2 building") || line.starts_with("#2 bringing up") {
            let run = world.runs().into_iter().find(|run| run.revision == second).unwrap();
            assert_eq!(run.outcome, None, "told when it was over: {line}");
        }
        told.push(line);
    }
    assert!(waiting.wait().unwrap().success(), "{told:#?}");
    let name = &world.name;
    let mut rest = told.iter();
    for step in [
        "looking at the branch",
        "run 2: deploy ",
        "#2 plan: 1 to build; web (",
        &format!("#2 building {name}-web:"),
        &format!("#2 built {name}-web:"),
        &format!("#2 bringing up {name}-web-2 (start-first)"),
        &format!("#2 {name}-web-2 passed its gate after "),
        "#2 switching requests to the new instances",
        "#2 live",
        "live in ",
    ] {
        assert!(rest.any(|line| line.starts_with(step)), "no `{step}` in its place: {told:#?}");
    }
    assert!(!told.concat().contains('\u{1b}'), "colours in a pipe: {told:#?}");

    world.push_version("web", 3);
    let program = format!(
        "{} deploy --config {}",
        env!("CARGO_BIN_EXE_agent"),
        world.path().join("agent.toml").display()
    );
    let terminal = Command::new("script")
        .args(["-qec", &program, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&terminal.stdout);
    // A line for each step, in colour, and below them the one in progress with its time.
    assert!(terminal.status.success(), "{:?}: {seen}", terminal.status);
    for part in ["live in ", "\u{1b}[", "\u{2801} looking at the branch"] {
        assert!(seen.contains(part), "no {part:?}: {seen:?}");
    }

    world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    let failed = agent(&world, &["deploy", "--json"]).output().unwrap();
    let answer: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!((failed.status.code(), &answer["result"]), (Some(1), &"failed".into()), "{answer:#}");
    assert_eq!(answer["failure"]["service"], "web");
}
