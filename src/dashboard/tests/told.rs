//! The first page as it is read.

use chrono::{DateTime, NaiveDateTime};
use minijinja::context;
use minijinja::value::{Serde, Value};

use super::Shop;
use crate::cli::tests::story::{AT, Story, revision};
use crate::dashboard::home::{known, view};
use crate::dashboard::pages::Pages;
use crate::model::run::{ReleaseId, RunId};
use crate::overview::time::Clock;
use crate::reconcile::{Doing, HeldBack, Situation};
use crate::record::Hold;

/// The first page at a fixed time, as a person reads it.
async fn told(story: Story, situation: Situation) -> String {
    fn utc(millis: i64) -> NaiveDateTime {
        DateTime::from_timestamp_millis(millis).unwrap().naive_utc()
    }
    let shop = Shop::new(story).await;
    shop.situation.send_replace(situation);
    let clock = Clock { now: AT + 2 * 3_600_000, wall: utc };
    let view = view(known(&*shop, "shop", &clock).await.unwrap(), None, &clock);
    let values = context! { root => "./", csrf => "x", ..Value::from(Serde(view)) };
    let page = Pages::new("shop").unwrap().text("home.html", values).unwrap();
    let (_, main) = page.split_once("<main").unwrap();
    read(main)
}

/// What is left of HTML when it is read: a line for each block.
fn read(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html.split_once('>').unwrap().1;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(&before.replace('\n', " "));
        let (name, after) = tag.split_once('>').unwrap();
        if ["/h1", "/h2", "/p", "/li", "/tr", "/section"].contains(&name) {
            text.push('\n');
        } else {
            text.push(' ');
        }
        rest = after;
    }
    let text = text.replace("&#x2f;", "/").replace("&quot;", "\"").replace("&#x27;", "'");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_failed_push_stands_above_everything_else() {
    insta::assert_snapshot!(told(Story::failed().await, Situation::default()).await);
}

#[tokio::test]
async fn a_rollback_says_what_is_held_and_until_when() {
    insta::assert_snapshot!(told(Story::rolled_back().await, Situation::default()).await);
}

#[tokio::test]
async fn a_push_that_may_not_run_now_is_told_with_its_reason() {
    let held_back = Some(HeldBack {
        revision: revision('f').to_string(),
        subject: "Sell on Friday evening".into(),
        why: "frozen until Monday 08:00 UTC (FRI 16:00 - MON 08:00)".into(),
        hint: Some("`agent deploy --despite-freeze` does not wait".into()),
        since: AT + 3_600_000,
        again_at: Some(AT + 50 * 3_600_000),
    });
    let text = told(Story::live().await, Situation { held_back, ..Situation::default() }).await;
    let shown: Vec<&str> = text.lines().skip_while(|line| !line.contains("is held back")).take(5).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    ffffffffff is held back
    Sell on Friday evening
    frozen until Monday 08:00 UTC (FRI 16:00 - MON 08:00)
    Hint: `agent deploy --despite-freeze` does not wait
    Since 15:02 (1 h ago) ; looked at again in 2 days.
    ");
}

#[tokio::test]
async fn a_new_release_says_until_when_it_is_watched_and_what_comes_back() {
    let text = told(Story::watched().await, Situation::default()).await;
    assert!(text.contains("Watched until 16:02:48: if it goes bad, release 2 comes back."), "{text}");
    assert!(text.contains("Undo: back to release 2"), "{text}");
}

#[tokio::test]
async fn the_way_back_that_is_offered_is_the_one_that_a_rollback_takes() {
    let text = told(Story::good_again().await, Situation::default()).await;
    assert!(text.contains("Undo: back to release 2"), "{text}");
    let story = Story::watched().await;
    for id in [1, 2].map(ReleaseId) {
        let hold = Hold { release: id, hold: false, denied: None, seen: None, since: AT };
        story.record.pin(hold, RunId(id.0), None).await.unwrap();
    }
    let text = told(story, Situation::default()).await;
    assert!(!text.contains("Undo"), "{text}");
}

#[tokio::test]
async fn a_run_in_progress_is_told_with_its_steps() {
    let story = Story::live().await;
    story.begin_bringing_up().await;
    let doing = Doing::Turn { why: "webhook 9c".into(), since: AT, run: Some(RunId(3)) };
    insta::assert_snapshot!(told(story, Situation { doing, ..Situation::default() }).await);
}
