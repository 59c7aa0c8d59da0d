//! Slack and Discord, each through an incoming webhook, whose address is the secret. A subject comes from whoever can
//! commit: it must not be able to call everybody in the room, nor to look like more than text.

use serde_json::json;

use super::super::news::News;
use super::super::words::{cut, line};
use super::{Refused, post, send};
use crate::http::{Client, ReadSecret};

pub struct Slack {
    pub url: ReadSecret,
    /// Also what went well.
    pub all: bool,
}

pub struct Discord {
    pub url: ReadSecret,
    /// Also what went well.
    pub all: bool,
}

/// Slack shortens what is longer than 40 000 characters; a line is enough.
const SLACK: usize = 3000;
/// Discord refuses what is longer than 2000.
const DISCORD: usize = 1900;

impl Slack {
    pub(super) async fn send(&self, client: &Client, news: &News) -> Result<(), Refused> {
        let text = line(news).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let body = json!({ "text": cut(&text, SLACK) });
        send(client, post((self.url)()?.expose(), &[], body.to_string())?).await.map(drop)
    }
}

impl Discord {
    pub(super) async fn send(&self, client: &Client, news: &News) -> Result<(), Refused> {
        let mut text = String::new();
        for c in cut(&line(news), DISCORD / 2).chars() {
            if "\\*_~`|>#[]".contains(c) {
                text.push('\\');
            }
            text.push(c);
        }
        let body = json!({ "content": text, "allowed_mentions": { "parse": [] } });
        send(client, post((self.url)()?.expose(), &[], body.to_string())?).await.map(drop)
    }
}
