//! The first page as it is read.

use chrono::{DateTime, NaiveDateTime};
use minijinja::context;
use minijinja::value::{Serde, Value};

use super::Shop;
use crate::cli::tests::story::{AT, Story};
use crate::dashboard::home::{known, view};
use crate::dashboard::pages::Pages;
use crate::model::run::RunId;
use crate::overview::time::Clock;
use crate::reconcile::{Doing, Situation};

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
async fn a_run_in_progress_is_told_with_its_steps() {
    let story = Story::live().await;
    story.begin_bringing_up().await;
    let doing = Doing::Turn { why: "webhook 9c".into(), since: AT, run: Some(RunId(3)) };
    insta::assert_snapshot!(told(story, Situation { doing, ..Situation::default() }).await);
}
