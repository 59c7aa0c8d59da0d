//! What people and programs are shown, from a record written through its own door at fixed times.

mod json;
pub(crate) mod story;

use chrono::{DateTime, NaiveDateTime};
use clap::CommandFactory;

use super::args::{Cli, What};
use super::status::{gather, text};
use super::time::Clock;
use super::{history, plan, show};
use crate::app::Preview;
use crate::app::control::Status;
use crate::model::class::Class;
use crate::model::run::{Failure, ReleaseId, RunId};
use crate::orders::{self, Order};
use crate::reconcile::{Doing, Situation, Wrong};
use crate::record::{Degraded, Pause};
use crate::trigger::Wakes;
use story::{AT, Story, observed, revision};

/// The machine is far away: its clock on the wall shows UTC.
fn clock() -> Clock {
    fn utc(millis: i64) -> NaiveDateTime {
        DateTime::from_timestamp_millis(millis).unwrap().naive_utc()
    }
    Clock { now: AT + 2 * 3_600_000, wall: utc }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn daemon(situation: Situation, pending: bool) -> Option<Result<Status, String>> {
    Some(Ok(Status { version: "0.1.0".into(), pid: 4242, situation, pending }))
}

async fn status(
    story: &Story,
    daemon: Option<Result<Status, String>>,
    engine: Result<crate::model::instance::Observed, String>,
) -> String {
    let report = gather(&story.config, daemon, engine, clock().now).await.unwrap();
    let text = plain(&text(&report, &clock(), 80));
    if let Some(first) = text.lines().next() {
        assert!(first.chars().count() <= 80, "{first}");
    }
    text
}

#[test]
fn the_whole_help() {
    fn tell(command: &mut clap::Command, path: &str, out: &mut String) {
        out.push_str(&format!("=== {path}\n{}\n", command.render_long_help()));
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            tell(sub, &path, out);
        }
    }
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut out = String::new();
    tell(&mut command, "agent", &mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn every_command_has_a_manual_page_that_names_it() {
    fn look(command: &clap::Command, name: &str, folder: &std::path::Path) -> usize {
        let page = std::fs::read_to_string(folder.join(format!("{name}.1"))).expect(name);
        let page = page.replace("\\-", "-").replace("\\*(Aq", "'");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(page.contains(&format!("\n.SH NAME\n{name} - {about}\n")), "{name}: {page}");
        let below = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        1 + below.map(|sub| look(sub, &format!("{name}-{}", sub.get_name()), folder)).sum::<usize>()
    }
    let folder = tempfile::tempdir().unwrap();
    super::man::man(folder.path()).unwrap();
    let looked_at = look(&Cli::command(), "agent", folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), looked_at);
    assert!(looked_at > 20, "only {looked_at} pages");
}

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
    assert_eq!("12".parse(), Ok(What::Run(RunId(12))));
    assert_eq!("release:3".parse(), Ok(What::Release(ReleaseId(3))));
    for bad in ["", "x", "release:", "build:3", "release:x"] {
        assert!(bad.parse::<What>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_failed_push_is_told_in_two_lines_with_the_daemon_down() {
    let story = Story::failed().await;
    insta::assert_snapshot!(status(&story, None, Ok(observed())).await);
}

#[tokio::test]
async fn what_failed_is_over_once_the_daemon_has_turned_and_met_nothing() {
    let story = Story::failed().await;
    for (turns, is_told) in [(0, true), (9, false)] {
        // The branch was taken back to what runs.
        let tip = Some(revision('b').to_string());
        let situation = Situation { tip, turns, ..Situation::default() };
        let told = status(&story, daemon(situation, false), Ok(observed())).await;
        assert_eq!(told.contains("failed"), is_told, "{told}");
    }
}

#[tokio::test]
async fn a_denied_tip_is_still_wrong_when_the_daemon_is_at_rest() {
    let story = Story::failed().await;
    let tip = Some(revision('d').to_string());
    let situation = Situation { tip, looked_at: Some(clock().now - 3_000), turns: 9, ..Situation::default() };
    let told = status(&story, daemon(situation, false), Ok(observed())).await;
    assert!(told.contains("! dddddddddd failed: flask-soft: it exited with code 1"), "{told}");
    assert!(told.contains("agent 0.1.0 runs (pid 4242); looked at the branch 3 s ago"), "{told}");
}

#[tokio::test]
async fn a_newer_tip_makes_an_old_failure_history() {
    let story = Story::failed().await;
    story.heal().await;
    let situation = Situation { tip: Some(revision('e').to_string()), ..Situation::default() };
    let told = status(&story, daemon(situation, false), Ok(observed())).await;
    assert!(!told.contains('!'), "{told}");
}

#[tokio::test]
async fn what_waits_says_when_it_is_tried_again() {
    let story = Story::live().await;
    let failure = Failure {
        message: "cannot reach https://git.example.com/shop: timed out".into(),
        hint: Some("check the network".into()),
        ..Failure::default()
    };
    let since = clock().now - 90_000;
    let wrong = Wrong { class: Class::Waiting, failure, since, again_at: Some(clock().now + 40_000) };
    let doing = Doing::Turn { why: "the timer".into(), since: clock().now - 1_000, run: None };
    let drift = vec!["shop-web-1 was stopped by hand".to_owned()];
    let situation = Situation { wrong: Some(wrong), doing, drift, ..Situation::default() };
    insta::assert_snapshot!(status(&story, daemon(situation, true), Ok(observed())).await);
}

#[tokio::test]
async fn a_rollback_is_held_and_says_until_when() {
    let story = Story::rolled_back().await;
    insta::assert_snapshot!(status(&story, None, Err("cannot reach the engine: no such file".into())).await);
}

#[tokio::test]
async fn a_run_in_progress_is_told_with_its_step() {
    let story = Story::live().await;
    story.begin_bringing_up().await;
    let told = status(&story, daemon(Situation::default(), false), Ok(observed())).await;
    let line = told.lines().find(|line| line.starts_with('*')).unwrap();
    insta::assert_snapshot!(line, @"* run 3: deploy eeeeeeeeee, begun 12 s ago: waiting for the new instances");
    let told = status(&story, None, Ok(observed())).await;
    assert!(told.contains("cut off; the next start brings it to its end"), "{told}");
}

#[tokio::test]
async fn before_the_first_run_there_is_nothing_to_tell_and_nothing_is_made() {
    let story = Story::nothing();
    insta::assert_snapshot!(status(&story, None, Ok(Default::default())).await, @r"
    shop  nothing is live yet

    agent: not running; the apps go on without it (systemctl start agent)
    ");
    assert!(!story.config.state.join("agent.db").exists());
}

#[tokio::test]
async fn long_names_stay_whole_and_within_eighty_columns() {
    let (stack, service) = ("the-shop-of-a-long-name", "recommendations-for-returning-customers");
    let mut long = observed();
    long.instances.truncate(1);
    let instance = &mut long.instances[0];
    (instance.service, instance.name) = (service.to_owned(), format!("{stack}-{service}-12"));
    let told = status(&Story::live().await, None, Ok(long.clone())).await;
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    let (_, table) = told.split_once("\n\n").unwrap();
    insta::assert_snapshot!(table, @r"
    SERVICE    flask-soft
    CONTAINER  -
    STATE      missing
    SINCE      -
    ROUTE      :5001/
               shop.example.com/pay/

    SERVICE    migrate
    CONTAINER  -
    STATE      done
    SINCE      -

    SERVICE    nginx
    CONTAINER  -
    STATE      missing
    SINCE      -

    SERVICE    recommendations-for-returning-customers
    CONTAINER  the-shop-of-a-long-name-recommendations-for-returning-customers-12
    STATE      healthy
    SINCE      14:01

    agent: not running; the apps go on without it (systemctl start agent)
    ");
    let content = show::content(&Story::live().await.record, ReleaseId(2)).await.unwrap();
    let told = plain(&show::content_text(&content, &clock(), 50));
    let table = told.split_once("\n\n").unwrap().1;
    assert!(table.starts_with("SERVICE  flask-soft\nIMAGE    shop-flask-soft:1a2b\nORDER "), "{told}");
}

#[tokio::test]
async fn the_history_tells_the_story() {
    let story = Story::rolled_back().await;
    let (runs, releases) = (story.record.runs(20).await.unwrap(), story.record.releases().await.unwrap());
    insta::assert_snapshot!(plain(&history::text(&runs, &releases, &clock(), 80)));
    let widest =
        plain(&history::text(&runs, &releases, &clock(), 80)).lines().map(|l| l.chars().count()).max();
    assert!(widest <= Some(80));
    assert_eq!(history::text(&[], &[], &clock(), 80), "no run yet");
}

#[tokio::test]
async fn a_run_is_shown_with_its_plan_its_log_and_its_failure() {
    let story = Story::failed().await;
    let run = RunId(4);
    let shown = show::Story {
        run: story.record.run(run).await.unwrap(),
        plan: story.record.plan_of(run).await.unwrap(),
        log: story.record.log(run, 0).await.unwrap(),
    };
    insta::assert_snapshot!(plain(&show::story_text(&shown, &clock())));
}

#[tokio::test]
async fn a_release_is_shown_without_its_environment() {
    let story = Story::live().await;
    let content = show::content(&story.record, ReleaseId(2)).await.unwrap();
    insta::assert_snapshot!(plain(&show::content_text(&content, &clock(), 80)));
    let json = serde_json::to_string_pretty(&content).unwrap();
    assert!(
        !json.contains("hunter2") && !plain(&show::content_text(&content, &clock(), 80)).contains("hunter2")
    );
    insta::assert_snapshot!("release_json", json);
}

#[test]
fn a_plan_says_what_and_why() {
    let preview = Preview {
        plan: story::plan('d'),
        subject: "Sell \"more\"".into(),
        warnings: vec!["stack/compose.yaml:3:5: `version` is obsolete".into()],
        gaps: [("worker".to_owned(), 1240)].into(),
        rolling: false,
    };
    insta::assert_snapshot!(plain(&plan::text(&preview)));
    let mut rolling = Preview { rolling: true, ..preview.clone() };
    rolling.plan.rolls.extend(preview.plan.rolls.clone());
    assert!(plain(&plan::text(&rolling)).contains("order   one service after another"));
    let mut nothing = preview;
    nothing.plan.rolls.clear();
    nothing.plan.removals.clear();
    assert!(plain(&plan::text(&nothing)).ends_with("nothing to do"));
}

#[tokio::test]
async fn the_status_for_programs_keeps_its_shape() {
    let story = Story::failed().await;
    let report = gather(&story.config, None, Ok(observed()), clock().now).await.unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

#[tokio::test]
async fn events_that_are_left_are_told_in_a_line() {
    let mut story = Story::live().await;
    let told = status(&story, None, Ok(observed())).await;
    assert!(!told.contains("Stripe"), "{told}");
    let files = vec![crate::config::SecretFile::File("/nowhere".into())];
    story.config.stripe.endpoints.get_mut("default").unwrap().secret_files = files;
    let told = status(&story, None, Ok(observed())).await;
    assert!(!told.contains("Stripe"), "nothing is left: {told}");
    let received = clock().now - 3 * 3_600_000;
    let write = |state: &'static str| {
        story.store.write(move |tx| -> Result<(), crate::store::Error> {
            tx.execute(
                "INSERT INTO inbox_events (endpoint, id, kind, thin, received, claimed, simulated,
                     content_type, signature, body) VALUES ('default', ?1, 'ping', 0, ?2, 1, 0, '', '', x'')",
                (state, received),
            )?;
            tx.execute(
                "INSERT INTO inbox_deliveries (event, destination, state, cause, due)
                 VALUES (last_insert_rowid(), 'till', ?1, 'initial', 0)",
                [state],
            )?;
            Ok(())
        })
    };
    write("pending").await.unwrap();
    let told = status(&story, None, Ok(observed())).await;
    assert!(told.contains("* Stripe events: 1 to be delivered, the oldest received 3 h ago"), "{told}");
    write("dead").await.unwrap();
    let told = status(&story, None, Ok(observed())).await;
    assert!(told.contains("! Stripe events: 1 dead (agent stripe events --state dead); 1 to be"), "{told}");
}

#[tokio::test]
async fn a_rollback_that_waits_for_the_daemon_is_announced() {
    let story = Story::live().await;
    let wakes = Wakes::open(story.store.clone(), "shop").await.unwrap();
    let order = Order::Rollback { release: None, hold: true };
    orders::obey(&order, &story.record, &wakes, None, AT + 7_000_000).await.unwrap();
    let told = status(&story, None, Ok(observed())).await;
    assert!(told.contains("live") && told.contains("going back to release 1"), "{told}");
    assert!(told.contains("release 1 is held until `agent resume`"), "{told}");
}

#[tokio::test]
async fn a_new_release_is_watched_and_gives_way_when_it_goes_bad() {
    let running = || daemon(Situation::default(), false);
    let story = Story::watched().await;
    insta::assert_snapshot!("watching", status(&story, running(), Ok(observed())).await);
    let story = Story::went_bad().await;
    insta::assert_snapshot!("going_back", status(&story, running(), Ok(observed())).await);
    let story = Story::reverted().await;
    insta::assert_snapshot!("gone_back", status(&story, running(), Ok(observed())).await);
}

#[tokio::test]
async fn a_pause_and_a_release_beyond_mending_are_told_in_the_first_line() {
    let story = Story::live().await;
    let pause = Pause { since: clock().now - 600_000, until: Some(clock().now + 5_400_000) };
    story.record.pause(&pause).await.unwrap();
    insta::assert_snapshot!("paused", status(&story, None, Ok(observed())).await);
    story.record.end_pause().await.unwrap();
    let degraded = Degraded { since: clock().now - 60_000, services: vec!["flask-soft".into()] };
    story.record.degrade(&degraded).await.unwrap();
    insta::assert_snapshot!("degraded", status(&story, None, Ok(observed())).await);
}

/// `agent why flask-soft`.
async fn why(story: &Story, engine: Result<crate::model::instance::Observed, String>) -> String {
    let known = gather(&story.config, None, engine, clock().now).await.unwrap();
    let why = super::why::gather(&story.record, known, "flask-soft").await.unwrap();
    plain(&super::why::text(&why, &clock()))
}

#[tokio::test]
async fn why_tells_what_rolled_a_service_and_what_failed() {
    insta::assert_snapshot!("why_well", why(&Story::live().await, Ok(observed())).await);
    insta::assert_snapshot!("why_failed", why(&Story::failed().await, Ok(observed())).await);
    insta::assert_snapshot!("why_watched", why(&Story::watched().await, Err("no engine".into())).await);
    insta::assert_snapshot!("why_gone_back", why(&Story::reverted().await, Ok(observed())).await);
}

#[tokio::test]
async fn why_names_the_services_there_are() {
    let story = Story::live().await;
    let known = gather(&story.config, None, Ok(observed()), clock().now).await.unwrap();
    let error = super::why::gather(&story.record, known, "flask").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no service flask");
    assert_eq!(error.hint().unwrap(), "there are flask-soft, migrate, nginx, worker");
}
