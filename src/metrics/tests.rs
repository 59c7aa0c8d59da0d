//! The exposition as a whole, read the way a scraper reads it.

use std::collections::BTreeMap;

use super::*;
use crate::inbox::Backlog;
use crate::model::class::Class;
use crate::model::run::{Entry, Failure, Kind, Outcome, RunId, Status};
use crate::overview::{ServiceState, Wrong};
use crate::record::{Logged, Run};

fn run(id: i64, outcome: Option<Outcome>) -> Run {
    Run {
        id: RunId(id),
        kind: Kind::Deploy,
        revision: "a".repeat(40),
        subject: "Sell".into(),
        reason: "a test".into(),
        started_at: 1_000,
        ended_at: outcome.as_ref().map(|_| 3_500),
        status: Status::Ended,
        outcome,
        release: None,
    }
}

fn service(name: &str, level: Level) -> ServiceState {
    ServiceState {
        service: name.into(),
        instance: Some(format!("shop-{name}-1")),
        level,
        state: "running".into(),
        since: None,
        revision: None,
        routes: Vec::new(),
    }
}

/// Every sample by its name and labels. Refuses what a scraper would: a sample without its type, a name with odd
/// letters, a value that is no number, the same sample twice.
fn scrape(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} stands there twice");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let base = ["_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = types.contains_key(name) || base.is_some_and(|base| types[base] == "summary");
            assert!(known, "{line}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            let before = samples.insert(sample.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "{line}");
        }
    }
    assert!(types.iter().all(|(name, kind)| (kind == "counter") == name.ends_with("_total")), "{types:?}");
    samples
}

fn exposition(report: &Report, tally: &Tally) -> BTreeMap<String, f64> {
    let answers = Answers::default();
    told(report, tally, &answers, None)
}

fn told(
    report: &Report,
    tally: &Tally,
    answers: &Answers,
    events: Option<&Numbers>,
) -> BTreeMap<String, f64> {
    let facts =
        Facts { version: "0.1.0", report, turns: 7, succeeded_at: Some(1_500), tally, answers, events };
    scrape(&text(&facts))
}

/// Each name in the panels is one that is told, and each number about Stripe's events has a panel.
#[test]
fn the_shipped_panels_ask_for_what_is_told() {
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        words.filter(|word| word.starts_with("agent_")).map(str::to_owned).collect()
    };
    let (report, tally, answers) = (Report::default(), Tally::default(), Answers::default());
    let (numbers, succeeded_at) = (Numbers::default(), None);
    let events = Some(&numbers);
    let facts = Facts {
        version: "0.1.0",
        report: &report,
        turns: 7,
        succeeded_at,
        tally: &tally,
        answers: &answers,
        events,
    };
    let told = names(&text(&facts));
    let asked = names(include_str!("../../docs/grafana.json"));
    assert!(asked.len() >= 14, "{asked:?}");
    for name in &asked {
        let plain = name.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(told.contains(name) || told.contains(plain), "the panels ask for {name}, which nobody tells");
    }
    for name in told.iter().filter(|name| name.starts_with("agent_stripe_")) {
        assert!(asked.contains(name), "no panel shows {name}");
    }
}

#[test]
fn events_that_wait_and_events_that_nobody_took_are_told() {
    let left = |destination: &str, pending, oldest, dead| Backlog {
        destination: destination.into(),
        pending,
        oldest,
        dead,
    };
    let numbers = Numbers {
        backlog: vec![left("books", 3, Some(4_000), 0), left("till", 0, None, 2)],
        received: [("kept", 5), ("forged", 1)].into(),
        attempts: [("books".to_owned(), [("delivered", 4), ("refused", 7)].into())].into(),
    };
    let samples = told(&Report::default(), &Tally::default(), &Answers::default(), Some(&numbers));
    for (sample, value) in [
        ("agent_stripe_pending{destination=\"books\"}", 3.0),
        ("agent_stripe_pending{destination=\"till\"}", 0.0),
        ("agent_stripe_dead{destination=\"till\"}", 2.0),
        ("agent_stripe_oldest_pending_timestamp_seconds{destination=\"books\"}", 4.0),
        ("agent_stripe_received_total{outcome=\"forged\"}", 1.0),
        ("agent_stripe_attempts_total{destination=\"books\",outcome=\"refused\"}", 7.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}: {samples:#?}");
    }
    assert!(!samples.contains_key("agent_stripe_oldest_pending_timestamp_seconds{destination=\"till\"}"));
}

#[test]
fn what_is_wrong_held_and_running_is_told() {
    let failure = Failure { message: "it \"broke\"\n".into(), ..Failure::default() };
    let wrong = Wrong {
        revision: None,
        subject: None,
        run: None,
        class: Class::Stalled,
        failure,
        since: 0,
        again_at: None,
        went_bad: false,
    };
    let services = vec![
        service("web", Level::Good),
        service("web", Level::Bad),
        ServiceState { instance: None, ..service("a\"b\\c\nd", Level::Bad) },
    ];
    let report = Report { wrong: Some(wrong), services, looked_at: Some(2_000), ..Report::default() };
    let samples = exposition(&report, &Tally::default());
    for (sample, value) in [
        ("agent_build_info{version=\"0.1.0\"}", 1.0),
        ("agent_trouble{class=\"stalled\"}", 1.0),
        ("agent_trouble{class=\"waiting\"}", 0.0),
        ("agent_instances{service=\"web\",level=\"good\"}", 1.0),
        ("agent_instances{service=\"web\",level=\"bad\"}", 1.0),
        ("agent_instances{service=\"a\\\"b\\\\c\\nd\",level=\"bad\"}", 0.0),
        ("agent_last_success_timestamp_seconds", 1.5),
        ("agent_branch_looked_at_timestamp_seconds", 2.0),
        ("agent_turns_total", 7.0),
        ("agent_held_back", 0.0),
        ("agent_engine_up", 1.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}: {samples:#?}");
    }
    assert_eq!(ready(&report, 7), Err("wrong: it \"broke\"\n".into()));
    assert!(ready(&Report::default(), 0).is_err());
    assert_eq!(ready(&Report::default(), 1), Ok("nothing is live yet".into()));
}

#[test]
fn each_run_is_counted_once_when_it_has_ended() {
    let mut tally = Tally::default();
    let mut look = |runs: Vec<Run>| {
        for run in tally.uncounted(runs) {
            let built = Entry::Built { tag: "x".into(), millis: 500 };
            tally.count(Ended { run, log: vec![Logged { at: 0, entry: built }] });
        }
        exposition(&Report::default(), &tally)
    };
    let good = || Some(Outcome::Succeeded);
    let samples = look(vec![run(2, None), run(1, good())]);
    assert!(!samples.keys().any(|key| key.starts_with("agent_runs_total")), "the past is not counted");
    look(vec![run(2, None), run(1, good())]);
    let samples =
        look(vec![run(4, None), run(3, Some(Outcome::Interrupted)), run(2, good()), run(1, good())]);
    assert_eq!(samples["agent_runs_total{kind=\"deploy\",outcome=\"succeeded\"}"], 1.0);
    assert_eq!(samples["agent_runs_total{kind=\"deploy\",outcome=\"interrupted\"}"], 1.0);
    let samples = look(vec![run(4, good()), run(3, Some(Outcome::Interrupted))]);
    assert_eq!(samples["agent_runs_total{kind=\"deploy\",outcome=\"succeeded\"}"], 2.0);
    assert_eq!(samples["agent_run_seconds_sum{kind=\"deploy\"}"], 7.5);
    assert_eq!(samples["agent_build_seconds_count"], 3.0);
    assert_eq!(samples["agent_build_seconds_sum"], 1.5);
}
