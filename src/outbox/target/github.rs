//! GitHub's commit statuses and deployments, by its REST API (version 2022-11-28).
//!
//! A commit status may be set again and again; of each context the newest counts. A deployment is made once for each
//! run: before one is made, it is looked for, so that a letter that is sent twice makes one deployment.

use bytes::Bytes;
use hyper::{Request, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::news::{News, Told, What};
use super::super::words::{cut, said};
use super::{Refused, post, send};
use crate::http::{Client, ReadSecret};
use crate::model::run::{Kind, Outcome};
use crate::report;

/// Where the API is and who asks.
pub struct GitHub {
    /// Without a slash at the end.
    pub api_url: String,
    /// `owner/name`
    pub repository: String,
    pub token: ReadSecret,
    /// Where people can look at what is told.
    pub link: Option<String>,
}

pub struct Statuses(pub GitHub);

pub struct Deployments {
    pub github: GitHub,
    pub environment: String,
}

/// The longest description that GitHub takes.
const DESCRIPTION: usize = 140;

impl GitHub {
    fn address(&self, what: &str) -> String {
        format!("{}/repos/{}/{what}", self.api_url, self.repository)
    }

    fn headers(&self) -> Result<[(&'static str, String); 3], Refused> {
        Ok([
            ("authorization", format!("Bearer {}", (self.token)()?.expose())),
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", "2022-11-28".to_owned()),
        ])
    }

    async fn post(&self, client: &Client, what: &str, mut body: Value) -> Result<Bytes, Refused> {
        // GitHub refuses an empty link, and takes a missing one.
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let request = post(&self.address(what), &self.headers()?, body.to_string())?;
        Ok(send(client, request).await?.body)
    }

    async fn get(&self, client: &Client, what: &str) -> Result<Bytes, Refused> {
        let uri: Result<Uri, _> = self.address(what).parse();
        let uri = uri.map_err(|_| Refused::from("the address is malformed".to_owned()))?;
        let mut request = Request::get(uri).header(header::USER_AGENT, "agent");
        for (name, value) in self.headers()? {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::new()).map_err(|error| Refused::from(report::line(&error)))?;
        Ok(send(client, request).await?.body)
    }
}

impl Statuses {
    pub(super) fn wants(news: &News) -> bool {
        match &news.what {
            What::Begun { run } | What::Ended { run, .. } => run.kind != Kind::Heal,
            What::HeldBack { .. } => true,
            What::Trouble { .. } | What::DeadLetters { .. } | What::Recovered { .. } => false,
        }
    }

    pub(super) async fn send(&self, client: &Client, news: &News) -> Result<(), Refused> {
        for (revision, state, text) in statuses(news) {
            let body = json!({
                "state": state,
                "description": cut(&text, DESCRIPTION),
                "context": format!("agent/{}", news.stack),
                "target_url": self.0.link,
            });
            self.0.post(client, &format!("statuses/{revision}"), body).await?;
        }
        Ok(())
    }
}

/// Which commits have which status by this: the run's own, and after a rollback the one that is kept out.
fn statuses(news: &News) -> Vec<(&str, &'static str, String)> {
    let text = said(news);
    match &news.what {
        What::Begun { run } => vec![(&run.revision, "pending", text)],
        What::HeldBack { revision, .. } => vec![(revision, "pending", text)],
        What::Ended { run, outcome, denied, .. } => {
            let state = match outcome {
                Outcome::Succeeded | Outcome::Unchanged => "success",
                Outcome::Failed { .. } => "failure",
                _ => "error",
            };
            let out = denied
                .as_deref()
                .filter(|_| state == "success")
                .map(|revision| (revision, "failure", format!("rolled back: {}", said(news))));
            [Some((run.revision.as_str(), state, text)), out].into_iter().flatten().collect()
        }
        What::Trouble { .. } | What::DeadLetters { .. } | What::Recovered { .. } => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Deployment {
    id: u64,
    /// What we sent along; GitHub gives it back as it was, or as a text of JSON.
    #[serde(default)]
    payload: Value,
}

impl Deployments {
    pub(super) fn wants(news: &News) -> bool {
        match &news.what {
            What::Begun { run } | What::Ended { run, .. } => run.kind != Kind::Heal,
            _ => false,
        }
    }

    pub(super) async fn send(&self, client: &Client, news: &News) -> Result<(), Refused> {
        let (run, state) = match &news.what {
            What::Begun { run } => (run, "in_progress"),
            What::Ended { run, outcome, .. } => {
                let state = match outcome {
                    Outcome::Succeeded | Outcome::Unchanged => "success",
                    Outcome::Failed { .. } => "failure",
                    Outcome::Superseded { .. } => "inactive",
                    _ => "error",
                };
                (run, state)
            }
            _ => return Ok(()),
        };
        let id = match self.find(client, news, run).await? {
            Some(id) => id,
            None => self.make(client, news, run).await?,
        };
        let body = json!({
            "state": state,
            "description": cut(&said(news), DESCRIPTION),
            "environment": self.environment,
            "log_url": self.github.link,
            "auto_inactive": true,
        });
        self.github.post(client, &format!("deployments/{id}/statuses"), body).await.map(drop)
    }

    async fn find(&self, client: &Client, news: &News, run: &Told) -> Result<Option<u64>, Refused> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("sha", &run.revision)
            .append_pair("environment", &self.environment)
            .append_pair("per_page", "100")
            .finish();
        let answer = self.github.get(client, &format!("deployments?{query}")).await?;
        let all: Vec<Deployment> = understood(&answer)?;
        let ours = payload(news, run);
        let same = |deployment: &Deployment| match &deployment.payload {
            Value::String(text) => serde_json::from_str::<Value>(text).is_ok_and(|payload| payload == ours),
            payload => *payload == ours,
        };
        Ok(all.iter().find(|deployment| same(deployment)).map(|deployment| deployment.id))
    }

    async fn make(&self, client: &Client, news: &News, run: &Told) -> Result<u64, Refused> {
        let body = json!({
            "ref": run.revision,
            "environment": self.environment,
            "description": cut(&format!("run {}: {} {}", run.id, run.kind, run.subject), DESCRIPTION),
            "payload": payload(news, run),
            // It runs whatever GitHub thinks of it: the agent has its own rules.
            "auto_merge": false,
            "required_contexts": [],
            "production_environment": self.environment == "production",
        });
        let answer = self.github.post(client, "deployments", body).await?;
        Ok(understood::<Deployment>(&answer)?.id)
    }
}

/// What tells the deployment of one run from every other.
fn payload(news: &News, run: &Told) -> Value {
    json!({ "agent": news.stack, "run": run.id, "at": began(news) })
}

/// Runs are counted anew where the state folder is new; the same number on another day is another run.
fn began(news: &News) -> i64 {
    match &news.what {
        What::Ended { millis, .. } => news.at - millis,
        _ => news.at,
    }
}

fn understood<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| format!("GitHub's answer cannot be understood: {error}").into())
}
