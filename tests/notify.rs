//! News on its way out, from a real record through a real store to a real server: what GitHub is asked is held against
//! its own description of its API, what is signed against the library of Standard Webhooks (`tests/notify/setup`
//! fetches both).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "notify/town.rs"]
mod town;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::model::class::Class;
use agent::model::run::{Entry, Failure, Kind, Outcome};
use agent::reconcile::{HeldBack, Wrong};
use agent::record::{Hold, Live};
use serde_json::{Value, json};
use town::{Mood, SECRET, Town, failed, now, revision};

/// Runs a script of `tests/notify` on this.
fn node(script: &str, input: &Value) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify");
    let mut node = Command::new("node");
    let mut node =
        node.arg(folder.join(script)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed; run tests/notify/setup first");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(bodies: &[Value], key: &str) -> Vec<String> {
    bodies.iter().map(|body| body[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_github_is_as_github_describes_its_api() {
    let mut town = Town::found().await;
    town.run('a', "Open the shop", Outcome::Succeeded).await;
    town.run('b', &"A long subject. ".repeat(30), failed(&"it crashed, ".repeat(30))).await;
    town.run('c', "Mend it", Outcome::Superseded { by: "d".repeat(40) }).await;
    town.run('d', "Reword", Outcome::Unchanged).await;
    town.run('e', "Cut off", Outcome::Interrupted).await;
    let held = HeldBack {
        revision: "f".repeat(40),
        subject: "On a Friday".into(),
        why: "frozen until Mon 08:00 UTC (FRI 16:00 - MON 08:00)".into(),
        hint: None,
        since: now(),
        again_at: None,
    };
    town.situation.send_modify(|situation| situation.held_back = Some(held));
    town.taken("/deployments/", 10).await;
    town.taken("/repos/acme/shop/statuses/", 11).await;

    let seen = town.seen.lock().unwrap();
    let asked: Vec<_> = seen.taken.iter().filter(|taken| taken.path.starts_with("/repos/")).collect();
    for taken in &asked {
        assert_eq!(taken.headers["authorization"], "Bearer a-token");
        assert_eq!(taken.headers["accept"], "application/vnd.github+json");
        assert_eq!(taken.headers["user-agent"], "agent");
    }
    let mut requests: Vec<Value> = asked
        .iter()
        .map(|taken| json!({ "method": taken.method, "path": taken.path, "body": taken.body }))
        .collect();
    let wrong =
        json!({ "method": "POST", "path": "/repos/acme/shop/statuses/x", "body": "{\"state\":\"fine\"}" });
    requests.push(wrong);
    let complaints = node("validate.mjs", &json!(requests));
    let (control, ours) = complaints.split_last().unwrap();
    assert_ne!(*control, json!([]), "the description lets everything pass");
    for (request, complaint) in requests.iter().zip(ours) {
        assert_eq!(*complaint, json!([]), "{request:#}");
    }
    let states = |path: &str| -> Vec<String> {
        let there = asked.iter().filter(|taken| taken.method == "POST" && taken.path.contains(path));
        there.map(|taken| taken.json()["state"].as_str().unwrap().to_owned()).collect()
    };
    let (pending, mut statuses) = ("pending", Vec::new());
    for end in ["success", "failure", "error", "success", "error"] {
        statuses.extend([pending, end]);
    }
    statuses.push(pending);
    assert_eq!(states("/statuses/"), statuses[..]);
    let ends = ["success", "failure", "inactive", "success", "error"];
    let deployed: Vec<&str> = ends.iter().flat_map(|end| ["in_progress", end]).collect();
    assert_eq!(states("/deployments/"), deployed);
    for taken in asked.iter().filter(|taken| taken.method == "POST") {
        // Both lead to the dashboard: a status as its target, what became of a deployment as its log.
        let told = [("/repos/acme/shop/statuses/", "target_url"), ("/statuses", "log_url")];
        if let Some((_, key)) = told.iter().find(|(part, _)| taken.path.contains(part)) {
            assert_eq!(taken.json()[key], "https://agent.example.com", "{taken:?}");
        }
        let description = taken.json()["description"].as_str().unwrap().to_owned();
        assert!(description.chars().count() <= 140, "GitHub refuses what is longer: {description}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_hang_or_fail_are_tried_again_and_keep_nobody_else_waiting() {
    let mut town = Town::found().await;
    town.mood("slack", Mood::Silent);
    town.mood("discord", Mood::Fails);
    town.run('a', "Open the shop", failed("it crashed")).await;
    town.run('b', "Mend it", Outcome::Succeeded).await;
    assert_eq!(town.taken("/hook", 4).await.len(), 4, "the others are told");
    town.eventually("both to be asked", async |town| town.seen.lock().unwrap().refused.len() == 2).await;
    assert!(town.at("/slack").is_empty() && town.at("/discord").is_empty());

    town.mood("slack", Mood::Good);
    town.mood("discord", Mood::Good);
    let discord = texts(&town.taken("/discord", 4).await, "content");
    assert!(
        discord[0].contains("run 1 begins") && discord[3].contains("live again"),
        "in order: {discord:?}"
    );
    let slack = texts(&town.taken("/slack", 2).await, "text");
    let first = format!(
        "shop: {} \"Open the shop\" failed: web: it crashed. What ran before goes on",
        "a".repeat(10)
    );
    assert_eq!(slack[0], first);
    assert!(slack[1].starts_with("shop: live again after "), "{slack:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_not_told_again_after_a_restart_and_what_was_not_is() {
    let mut town = Town::found().await;
    town.run('a', "Open the shop", Outcome::Succeeded).await;
    town.taken("/hook", 2).await;
    town.mood("hook", Mood::Fails);
    town.run('b', "Reword", Outcome::Succeeded).await;
    town.close().await;
    town.open().await;
    // Nobody was there to see this one.
    town.close().await;
    town.run('c', "Reword again", Outcome::Succeeded).await;
    town.mood("hook", Mood::Good);
    town.open().await;
    town.restart().await;
    town.taken("/hook", 6).await;
    town.run('d', "The last", Outcome::Succeeded).await;
    let mut told = texts(&town.taken("/hook", 8).await, "text");
    // One that was under way at the restart is told again: nobody knows that it had arrived.
    if told.windows(2).any(|two| two[0] == two[1]) {
        told = texts(&town.taken("/hook", 9).await, "text");
        told.dedup();
    }
    let subjects = ["Open the shop", "Reword", "Reword again", "The last"];
    assert_eq!(told.len(), 8, "{told:#?}");
    for (pair, subject) in told.chunks(2).zip(subjects) {
        assert!(pair.iter().all(|text| text.ends_with(&format!("\"{subject}\""))), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_trouble_is_told_once_and_so_is_its_end() {
    let mut town = Town::found().await;
    let wrong = |message: &str| {
        let failure = Failure { message: message.into(), ..Failure::default() };
        let ahead = if message == "a hiccup" { 0 } else { 120_000 };
        (Some(Wrong { class: Class::Waiting, failure, since: now(), again_at: None }), ahead)
    };
    let meet = |town: &Town, message: &str| {
        let (wrong, ahead) = wrong(message);
        town.ahead.store(ahead, Ordering::Relaxed);
        town.situation.send_modify(|situation| {
            situation.wrong = wrong;
            situation.turns += 1;
        });
    };
    meet(&town, "a hiccup");
    town.run('0', "Something", Outcome::Succeeded).await;
    town.taken("/hook", 2).await;
    meet(&town, "github.com cannot be reached");
    town.taken("/slack", 1).await;
    town.restart().await;
    // It has not looked yet, so nothing is known to be over.
    town.situation.send_modify(|situation| situation.looked_at = Some(now()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    meet(&town, "github.com cannot be reached");
    town.run('a', "Open the shop", failed("it crashed")).await;
    town.taken("/slack", 2).await;
    town.situation.send_modify(|situation| {
        situation.wrong = None;
        situation.turns += 1;
    });
    let told = texts(&town.taken("/slack", 3).await, "text");
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!(told[0], "shop: github.com cannot be reached");
    assert!(
        told[2].starts_with("shop: over after ") && told[2].ends_with(": github.com cannot be reached"),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_trouble_is_told_although_its_beginning_is_no_news_any_more() {
    let mut town = Town::found().await;
    let failure = Failure { message: "github.com cannot be reached".into(), ..Failure::default() };
    let wrong = Wrong { class: Class::Waiting, failure, since: now(), again_at: None };
    town.ahead.store(120_000, Ordering::Relaxed);
    town.situation.send_modify(|situation| situation.wrong = Some(wrong));
    town.taken("/slack", 1).await;
    town.ahead.store(30 * 3_600_000, Ordering::Relaxed);
    town.situation.send_modify(|situation| {
        situation.wrong = None;
        situation.turns += 1;
    });
    let told = texts(&town.taken("/slack", 2).await, "text");
    assert_eq!(told[1], "shop: over after 30 h 0 min: github.com cannot be reached");
    town.restart().await;
    town.ahead.store(0, Ordering::Relaxed);
    town.run('a', "Open the shop", failed("it crashed")).await;
    let told = texts(&town.taken("/slack", 3).await, "text");
    assert!(told[2].contains("it crashed"), "once: {told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_took_are_told_when_they_become_more() {
    let mut town = Town::found().await;
    let become_dead = async |town: &Town, count| {
        town.dead.send_replace(Some(count));
        town.situation.send_modify(|situation| situation.turns += 1);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    become_dead(&town, 0).await;
    become_dead(&town, 2).await;
    town.taken("/slack", 1).await;
    // Within the hour, and as they become fewer, nobody is told.
    become_dead(&town, 3).await;
    become_dead(&town, 1).await;
    town.ahead.store(2 * 3_600_000, Ordering::Relaxed);
    become_dead(&town, 1).await;
    become_dead(&town, 4).await;
    town.taken("/slack", 2).await;
    town.restart().await;
    become_dead(&town, 4).await;
    town.ahead.store(4 * 3_600_000, Ordering::Relaxed);
    become_dead(&town, 5).await;
    let told = texts(&town.taken("/slack", 3).await, "text");
    let words = |count| {
        format!("shop: {count} deliveries of Stripe events are dead: agent stripe events --state dead")
    };
    assert_eq!(told, [words(2), words(4), words(5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_marks_the_commit_that_stays_out() {
    let mut town = Town::found().await;
    town.run('a', "Open the shop", Outcome::Succeeded).await;
    town.run('b', "Break it", Outcome::Succeeded).await;
    let release = town.record.releases().await.unwrap().pop().unwrap();
    let hold =
        Hold { release: release.id, hold: false, denied: Some(revision('b')), seen: None, since: now() };
    town.record.pin(hold, release.run, None).await.unwrap();
    let run = town.begin(Kind::Rollback, &release.revision, "Open the shop").await;
    town.end(run, &release.revision, Outcome::Succeeded).await;
    town.taken("/statuses/", 7).await;
    let seen = town.seen.lock().unwrap();
    let last = seen.taken.iter().rfind(|taken| taken.path.ends_with(&"b".repeat(40))).unwrap().json();
    assert_eq!(last["state"], "failure");
    let description = last["description"].as_str().unwrap();
    assert!(description.starts_with("rolled back: went back to release "), "{description}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_down_and_comes_back_has_not_gone_back() {
    let mut town = Town::found().await;
    town.run('a', "Open the shop", Outcome::Succeeded).await;
    let release = town.record.current().await.unwrap().unwrap();
    town.record.forget_current().await.unwrap();
    let run = town.begin(Kind::Rollback, &release.revision, "Open the shop").await;
    for entry in [Entry::Planned { summary: "x".into() }, Entry::Switching] {
        town.record.append(run, entry, now()).await.unwrap();
    }
    town.record.switched(run, Live::Again(&release), now()).await.unwrap();
    town.record.append(run, Entry::Ended { outcome: Outcome::Succeeded }, now()).await.unwrap();
    town.situation.send_modify(|situation| situation.turns += 1);
    let told = texts(&town.taken("/slack", 1).await, "text");
    assert_eq!(told, [r#"shop: live again: release 1, aaaaaaaaaa "Open the shop""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_holds_no_container_s_log() {
    let mut town = Town::found().await;
    town.run('a', "Open the shop", failed("it crashed")).await;
    town.taken("/hook", 2).await;
    town.taken("/discord", 2).await;
    let taken = town.seen.lock().unwrap().taken.clone();
    assert!(taken.iter().all(|taken| !taken.body.contains("hunter2")), "{taken:#?}");
    let hooks: Vec<Value> = taken
        .iter()
        .filter(|taken| taken.path == "/hook")
        .map(|taken| json!({ "secret": SECRET, "body": taken.body, "headers": taken.headers }))
        .collect();
    let mut forged = hooks[0].clone();
    forged["body"] = "{}".into();
    let checked = node("verify.mjs", &json!([hooks[0], hooks[1], forged]));
    assert_eq!(checked[..2], ["right", "right"]);
    assert_ne!(checked[2], "right");
    let ids: Vec<&Value> = hooks.iter().map(|hook| &hook["headers"]["webhook-id"]).collect();
    assert_eq!(ids, ["shop-run-1-begun", "shop-run-1-ended"]);
    let body: Value = serde_json::from_str(hooks[1]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["type"], &body["stack"], &body["run"]["id"]),
        (&json!("ended"), &json!("shop"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_calls_nobody_and_is_only_text() {
    let mut town = Town::found().await;
    town.run('a', "<!channel> & @everyone **big** `code`", failed("it crashed")).await;
    let slack = texts(&town.taken("/slack", 1).await, "text");
    assert!(slack[0].contains("\"&lt;!channel&gt; &amp; @everyone"), "{slack:?}");
    let discord = town.taken("/discord", 2).await;
    assert_eq!(discord[1]["allowed_mentions"], json!({ "parse": [] }));
    let content = discord[1]["content"].as_str().unwrap();
    assert!(content.contains(r"\*\*big\*\* \`code\`"), "{content}");
}
