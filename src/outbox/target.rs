//! Who is told, and how each of them wants to hear it. Every send is one or two requests within a bounded time; what
//! it says when it is not taken goes to the log, never the address or a token.

mod chat;
mod github;
mod webhook;

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, Uri, header};

use super::news::News;
use crate::http::{Answer, Client, ClientError};
use crate::report;

pub use chat::{Discord, Slack};
pub use github::{Deployments, GitHub, Statuses};
pub use webhook::Webhook;

const WITHIN: Duration = Duration::from_secs(15);

/// Whom to tell.
pub enum Target {
    Statuses(Statuses),
    Deployments(Deployments),
    Slack(Slack),
    Discord(Discord),
    Webhook(Webhook),
}

/// Why a letter was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    /// How long the target asks to be left alone.
    pub again_after: Option<Duration>,
}

impl Target {
    /// Under this name the letters are kept.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Statuses(_) => "github-statuses",
            Self::Deployments(_) => "github-deployments",
            Self::Slack(_) => "slack",
            Self::Discord(_) => "discord",
            Self::Webhook(_) => "webhook",
        }
    }

    pub(super) fn wants(&self, news: &News) -> bool {
        match self {
            Self::Statuses(_) => Statuses::wants(news),
            Self::Deployments(_) => Deployments::wants(news),
            Self::Slack(slack) => slack.all || news.matters(),
            Self::Discord(discord) => discord.all || news.matters(),
            Self::Webhook(_) => true,
        }
    }

    pub(super) async fn send(
        &self,
        client: &Client,
        key: &str,
        news: &News,
        now: i64,
    ) -> Result<(), Refused> {
        match self {
            Self::Statuses(statuses) => statuses.send(client, news).await,
            Self::Deployments(deployments) => deployments.send(client, news).await,
            Self::Slack(slack) => slack.send(client, news).await,
            Self::Discord(discord) => discord.send(client, news).await,
            Self::Webhook(webhook) => webhook.send(client, key, news, now).await,
        }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self { why, again_after: None }
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        report::line(&error).into()
    }
}

/// Sends, and takes any 2xx for a yes.
async fn send(client: &Client, request: Request<Bytes>) -> Result<Answer, Refused> {
    let answer = client.ask(request, WITHIN).await?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let seconds = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let again_after = seconds.map(Duration::from_secs);
    Err(Refused { why: refusal(answer.status, &answer), again_after })
}

fn refusal(status: StatusCode, answer: &Answer) -> String {
    let said = answer.brief();
    if said.is_empty() { status.to_string() } else { format!("{status}: {said}") }
}

/// A POST of JSON, with more headers. The address may be a secret: an error does not show it.
fn post(address: &str, headers: &[(&str, String)], body: String) -> Result<Request<Bytes>, Refused> {
    let uri: Uri = address.parse().map_err(|_| Refused::from("the address is malformed".to_owned()))?;
    let mut request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "agent");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(body.into()).map_err(|error| report::line(&error).into())
}
