//! A webhook of one's own, signed as Standard Webhooks describes: any of its libraries can check it. `webhook-id` is
//! the same at every attempt for one piece of news.

use serde_json::json;

use super::super::news::News;
use super::super::words::line;
use super::{Refused, post, send};
use crate::http::standard::{self, Key};
use crate::http::{Client, ReadSecret};

pub struct Webhook {
    pub url: String,
    /// `whsec_…`
    pub secret: ReadSecret,
}

impl Webhook {
    pub(super) async fn send(
        &self,
        client: &Client,
        key: &str,
        news: &News,
        now: i64,
    ) -> Result<(), Refused> {
        let signing = Key::parse(&(self.secret)()?).map_err(|error| Refused::from(error.to_string()))?;
        let mut body = json!(news);
        body["text"] = line(news).into();
        let body = body.to_string();
        let (id, at) = (format!("{}-{key}", news.stack), now / 1000);
        let signature = standard::sign(&signing, &id, at, body.as_bytes());
        let headers =
            [(standard::ID, id), (standard::TIMESTAMP, at.to_string()), (standard::SIGNATURE, signature)];
        send(client, post(&self.url, &headers, body)?).await.map(drop)
    }
}
