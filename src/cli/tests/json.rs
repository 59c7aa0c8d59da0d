//! `docs/json.md` beside what is written: every field that comes is in its tables, and every field in its tables comes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::super::check::Checked;
use super::super::follow::Rest;
use super::super::logs::{Text, Texts};
use super::super::order::{Noted, Reloaded};
use super::super::out::Refusal;
use super::super::stripe::events::Events;
use super::super::verdict::{self, Known};
use super::super::{history, show, why};
use super::*;
use crate::app::check::{Finding, Level};
use crate::inbox::{self, Again, Attempt, Backlog, Delivery, Discarded, Event, Rotated, Seen, Simulated};
use crate::model::desired::InPlace;
use crate::plan::diff::Refresh;
use crate::reconcile::HeldBack;
use crate::record::{Run, Target, Watch};

const MANUAL: &str = include_str!("../../../docs/json.md");

/// Of each heading, what its table says: a path, or a path below which another table begins.
fn tables() -> BTreeMap<&'static str, Vec<(&'static str, Option<&'static str>)>> {
    let mut tables = BTreeMap::<_, Vec<_>>::new();
    let mut heading = "";
    for line in MANUAL.lines() {
        if let Some(title) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            heading = title;
        } else if let Some(row) = line.strip_prefix("| `") {
            let (path, meaning) = row.split_once("` | ").unwrap();
            let shape = meaning.strip_prefix('[').map(|rest| rest.split(']').next().unwrap());
            tables.entry(heading).or_default().push((path, shape));
        }
    }
    tables
}

/// All paths of a table, with those of the shapes it names.
fn paths(heading: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (path, shape) in &tables()[heading] {
        match shape {
            Some(shape) => {
                paths.extend(self::paths(shape).into_iter().map(|below| format!("{path}.{below}")))
            }
            None => drop(paths.insert((*path).to_owned())),
        }
    }
    paths
}

/// The paths of a value to its leaves; what is empty or null is one.
fn leaves(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, below)| leaves(below, &format!("{path}{dot}{name}"), out));
        }
        Value::Array(entries) if !entries.is_empty() => {
            entries.iter().for_each(|below| leaves(below, &format!("{path}[]"), out))
        }
        Value::Null => drop(out.insert(format!("{path}?"))),
        Value::Array(_) | Value::Object(_) => drop(out.insert(format!("{path}?"))),
        _ => drop(out.insert(path.to_owned())),
    }
}

fn covers(documented: &str, written: &str) -> bool {
    match documented.strip_suffix('*') {
        Some(lead) => written.starts_with(lead),
        None => documented == written,
    }
}

fn is_below(documented: &str, written: &str) -> bool {
    documented.strip_prefix(written).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// `examples` are what comes of it at several times.
fn agrees(heading: &str, examples: Vec<Value>) {
    agree(heading, &paths(heading), |_| true, examples);
}

/// `sure`: what must have come; the rest may.
fn agree(heading: &str, documented: &BTreeSet<String>, sure: impl Fn(&str) -> bool, examples: Vec<Value>) {
    let mut written = BTreeSet::new();
    examples.iter().for_each(|example| leaves(example, "", &mut written));
    for path in &written {
        let known = match path.strip_suffix('?') {
            // Nothing is there now; what may be is below it.
            Some(empty) => documented.iter().any(|known| covers(known, empty) || is_below(known, empty)),
            None => documented.iter().any(|known| covers(known, path)),
        };
        assert!(known, "{heading}: `{path}` is written, and docs/json.md does not say so");
    }
    for known in documented.iter().filter(|known| sure(known)) {
        let seen = written.iter().any(|path| covers(known, path));
        assert!(seen, "{heading}: docs/json.md promises `{known}`, which never came: {written:#?}");
    }
}

fn value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[tokio::test]
async fn the_status_is_as_its_table_says() {
    let revision = || revision('d').to_string();
    let said = async |story: &Story, daemon, engine| {
        value(&gather(&story.config, daemon, engine, clock().now).await.unwrap())
    };
    let mut examples = vec![
        said(&Story::failed().await, None, Err("no engine".into())).await,
        said(&Story::rolled_back().await, Some(Err("it does not answer".into())), Ok(observed())).await,
        said(&Story::watched().await, None, Ok(observed())).await,
        said(&Story::went_bad().await, None, Ok(observed())).await,
    ];
    let chained = Story::watched().await;
    let watch = chained.record.watch().await.unwrap().unwrap();
    let unproven = BTreeMap::from([("flask-soft".to_owned(), RunId(1))]);
    chained.record.set_fact("watch", &Watch { unproven, first: Some(1), ..watch }).await.unwrap();
    examples.push(said(&chained, None, Ok(observed())).await);
    let mut story = Story::live().await;
    story.begin_bringing_up().await;
    story.record.pause(&Pause { since: 1, until: Some(clock().now + 1) }).await.unwrap();
    story.record.degrade(&Degraded { since: 1, services: vec!["web".into()] }).await.unwrap();
    let files = vec![crate::config::SecretFile::File("/nowhere".into())];
    story.config.stripe.endpoints.get_mut("default").unwrap().secret_files = files;
    let write = story.store.write(|tx| -> Result<(), crate::store::Error> {
        tx.execute(
            "INSERT INTO inbox_events (endpoint, id, kind, thin, received, claimed, simulated,
                 content_type, signature, body) VALUES ('default', 'evt', 'ping', 0, 1, 1, 0, '', '', x'')",
            [],
        )?;
        tx.execute(
            "INSERT INTO inbox_deliveries (event, destination, state, cause, due)
             VALUES (last_insert_rowid(), 'till', 'pending', 'initial', 0)",
            [],
        )?;
        Ok(())
    });
    write.await.unwrap();
    let failure =
        Failure { service: Some("web".into()), message: "x".into(), hint: Some("y".into()), log: "z".into() };
    let held_back = HeldBack {
        revision: revision(),
        subject: "x".into(),
        why: "frozen".into(),
        hint: Some("wait".into()),
        since: 1,
        again_at: Some(2),
    };
    let situation = Situation {
        doing: Doing::Turn { why: "the timer".into(), since: 1, run: None },
        looked_at: Some(1),
        tip: Some(revision()),
        wrong: Some(Wrong { class: Class::Waiting, failure, since: 1, again_at: Some(2) }),
        held_back: Some(held_back),
        drift: vec!["x".into()],
        ..Situation::default()
    };
    examples.push(said(&story, daemon(situation, true), Ok(observed())).await);
    // A run in progress has none of it yet.
    let sure = |path: &str| {
        !path.starts_with("doing.outcome.") && !["doing.ended_at", "doing.release"].contains(&path)
    };
    agree("agent status", &paths("agent status"), sure, examples);
}

#[tokio::test]
async fn what_the_record_tells_is_as_its_tables_say() {
    let story = Story::failed().await;
    let record = &story.record;
    let (runs, releases) = (record.runs(20).await.unwrap(), record.releases().await.unwrap());
    agrees("agent history", vec![value(&history::Runs { runs, releases })]);

    let run = RunId(4);
    let log = record.log(run, 0).await.unwrap();
    let told = show::Story { run: record.run(run).await.unwrap(), plan: Some(whole_plan()), log };
    let mut examples = vec![value(&told)];
    for run in [2, 3].map(RunId) {
        let (log, run) = (record.log(run, 0).await.unwrap(), record.run(run).await.unwrap());
        examples.push(value(&show::Story { run, plan: None, log }));
    }
    agrees("agent show", examples);
    let content = show::content(record, ReleaseId(2)).await.unwrap();
    agrees("agent show release:N", vec![value(&content)]);

    let mut examples = Vec::new();
    for (story, engine) in [(story, Ok(observed())), (Story::watched().await, Err("no engine".into()))] {
        let known = gather(&story.config, None, engine, clock().now).await.unwrap();
        examples.push(value(&why::gather(&story.record, known, "flask-soft").await.unwrap()));
    }
    agrees("agent why", examples);
}

#[tokio::test]
async fn answers_to_orders_are_as_their_tables_say() {
    let story = Story::failed().await;
    let verdict = async |run: i64| {
        let run: Run = story.record.run(RunId(run)).await.unwrap();
        let rest = Rest { run: Some(run), switched_at: None, wrong: None, tip: None, held_back: None };
        let current = story.record.current().await.unwrap();
        value(&verdict::verdict(
            rest,
            Known { target: Target::Branch, current, denial: None, mending: false },
        ))
    };
    agrees("agent deploy", vec![verdict(4).await, verdict(3).await, verdict(2).await]);
    agrees("agent deploy --no-wait", vec![value(&Noted { said: "x".into(), daemon: true })]);
    agrees("agent reload", vec![value(&Reloaded { said: "x".into() })]);
    let preview = Preview {
        plan: whole_plan(),
        subject: "x".into(),
        warnings: vec!["x".into()],
        gaps: [("web".to_owned(), 1)].into(),
        rolling: false,
    };
    agrees("agent plan", vec![value(&preview)]);
    let found = Finding { what: "x".into(), level: Level::Wrong, found: "x".into(), mend: Some("x".into()) };
    agrees("agent check", vec![value(&Checked { good: false, findings: vec![found] })]);
    let text = Text { name: "web".into(), text: "x".into() };
    agrees("agent logs", vec![value(&Texts { logs: vec![text] })]);
    let problems = ["x".to_owned()];
    agrees(
        "Errors",
        vec![value(&Refusal { error: "x".into(), hint: Some("x".into()), problems: &problems })],
    );
}

fn whole_plan() -> crate::plan::diff::Plan {
    let mut plan = story::plan('d');
    let what = InPlace { target: "/etc".into(), folder: "/f".into(), content: "/c".into(), signal: None };
    plan.refreshes.push(Refresh { service: "web".into(), what, before: None });
    plan
}

#[test]
fn stripes_events_are_as_their_tables_say() {
    let event = || Event {
        number: 1,
        endpoint: "default".into(),
        id: "evt_1".into(),
        kind: "ping".into(),
        thin: false,
        livemode: Some(true),
        account: Some("acct".into()),
        object: Some("cs_1".into()),
        created: Some(1),
        received: 1,
        repeats: 0,
        simulated: false,
        deliveries: vec![Delivery {
            number: 1,
            destination: "till".into(),
            state: inbox::State::Dead,
            attempts: 1,
            due: 1,
        }],
    };
    let attempt = || Attempt {
        number: 1,
        delivery: 1,
        destination: "till".into(),
        event: "evt_1".into(),
        at: 1,
        took: 1,
        url: "x".into(),
        status: Some(200),
        trouble: Some("x".into()),
        answer: "x".into(),
    };
    let backlog = vec![Backlog { destination: "till".into(), pending: 1, oldest: Some(1), dead: 1 }];
    agrees("agent stripe events", vec![value(&Events { events: vec![event()], backlog })]);
    let story = inbox::Story {
        event: event(),
        attempts: vec![attempt()],
        client: Some("x".into()),
        signature: "x".into(),
        content_type: "x".into(),
        body: "{}".into(),
    };
    let mut besides = paths("agent stripe show");
    besides.extend(paths("event"));
    agree("agent stripe show", &besides, |_| true, vec![value(&story)]);
    agrees("agent stripe tail", vec![value(&Seen::Event(event())), value(&Seen::Attempt(attempt()))]);
    agrees("agent stripe resend", vec![value(&Again { events: 1, deliveries: 1 })]);
    agrees("agent stripe discard", vec![value(&Discarded { deliveries: 1 })]);
    agrees("agent stripe secrets rotate", vec![value(&Rotated { destination: "till".into() })]);
    let one = Simulated { id: "evt".into(), kind: "ping".into(), status: 200, said: "kept".into() };
    agrees("agent stripe trigger", vec![json!([value(&one)])]);
}

/// Whoever adds a command says what it writes.
#[test]
fn every_command_has_a_table() {
    fn walk<'a>(command: &'a clap::Command, path: &str, out: &mut Vec<(String, &'a clap::Command)>) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let path = format!("{path} {}", below.get_name());
            match below.has_subcommands() {
                true => walk(below, &path, out),
                false => out.push((path, below)),
            }
        }
    }
    let tree = Cli::command();
    let mut commands = Vec::new();
    walk(&tree, "agent", &mut commands);
    // No answer, or one that is described in a sentence.
    let others = ["run", "init", "config", "completions", "rollback", "resume", "retry", "down", "pause"];
    for (path, _) in commands {
        let told =
            tables().contains_key(path.as_str()) || others.iter().any(|name| path == format!("agent {name}"));
        assert!(told, "docs/json.md says nothing of {path}");
    }
}
