//! What GitHub knows to be checked of a commit: check runs (GitHub Actions and other apps) and the older commit
//! statuses, by name. Of several with one name the newest counts, as on GitHub's own page.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Objection;
use crate::http::{Client, ClientError, ReadSecret};
use crate::model::Revision;

const WITHIN: Duration = Duration::from_secs(15);
/// A check that runs is asked for again soon; one that failed may be run again by a person.
const RUNNING: Duration = Duration::from_secs(30);
const FAILED: Duration = Duration::from_secs(300);

/// The checks that must have passed.
pub struct Checks {
    pub client: Client,
    /// Without a slash at the end.
    pub api_url: String,
    /// `owner/name`
    pub repository: String,
    pub token: Option<ReadSecret>,
    pub required: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChecksError {
    #[error("the token for GitHub cannot be had: {0}")]
    Token(String),
    #[error("GitHub does not answer")]
    Client(#[from] ClientError),
    #[error("GitHub answered {status}: {said}")]
    Refused { status: StatusCode, said: String },
    #[error("GitHub's answer cannot be understood")]
    Shape(#[from] serde_json::Error),
    #[error("`api_url` under [github] is not an address")]
    Address(#[from] hyper::http::Error),
}

impl ChecksError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Token(_) => "see `token_file` under [github]".to_owned(),
            Self::Refused { .. } => {
                "see [github]: the token must be able to read checks and commit statuses".to_owned()
            }
            _ => "it is tried again".to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Passed,
    Running,
    Failed,
    Missing,
}

#[derive(Deserialize)]
struct CheckRuns {
    check_runs: Vec<CheckRun>,
}

#[derive(Deserialize)]
struct CheckRun {
    id: u64,
    name: String,
    status: String,
    conclusion: Option<String>,
}

#[derive(Deserialize)]
struct Combined {
    statuses: Vec<CommitStatus>,
}

#[derive(Deserialize)]
struct CommitStatus {
    context: String,
    state: String,
}

impl Checks {
    pub(super) async fn judge(&self, revision: &Revision) -> Result<Option<Objection>, ChecksError> {
        let mut waiting = None;
        for name in &self.required {
            let (what, again) = match self.standing(revision, name).await? {
                Standing::Passed => continue,
                Standing::Failed => {
                    let hint = Some("mend it and push, or run the check again".to_owned());
                    let why = format!("the check `{name}` did not pass");
                    return Ok(Some(Objection { why, hint, again: Some(FAILED) }));
                }
                Standing::Running => ("has not ended", RUNNING),
                Standing::Missing => ("has not begun", RUNNING),
            };
            let why = format!("the check `{name}` {what}");
            waiting.get_or_insert(Objection { why, hint: None, again: Some(again) });
        }
        Ok(waiting)
    }

    async fn standing(&self, revision: &Revision, name: &str) -> Result<Standing, ChecksError> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("check_name", name).finish();
        let runs: CheckRuns = self.ask(revision, &format!("check-runs?{query}&per_page=100")).await?;
        let newest = runs.check_runs.into_iter().filter(|run| run.name == name).max_by_key(|run| run.id);
        if let Some(run) = newest {
            return Ok(of_check(&run));
        }
        let combined: Combined = self.ask(revision, "status?per_page=100").await?;
        let found = combined.statuses.into_iter().find(|status| status.context == name);
        Ok(found.map_or(Standing::Missing, |status| of_status(&status.state)))
    }

    async fn ask<T: DeserializeOwned>(&self, revision: &Revision, what: &str) -> Result<T, ChecksError> {
        let Self { api_url, repository, .. } = self;
        let address = format!("{api_url}/repos/{repository}/commits/{revision}/{what}");
        let uri: Uri = address.parse().map_err(hyper::http::Error::from)?;
        let mut request = Request::get(uri)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, "agent")
            .header("x-github-api-version", "2022-11-28");
        if let Some(token) = &self.token {
            let token = token().map_err(ChecksError::Token)?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let answer = self.client.ask(request.body(Bytes::new())?, WITHIN).await?;
        if !answer.status.is_success() {
            return Err(ChecksError::Refused { status: answer.status, said: answer.brief() });
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

fn of_check(run: &CheckRun) -> Standing {
    match (&*run.status, run.conclusion.as_deref()) {
        // What branch protection on GitHub lets pass.
        ("completed", Some("success" | "neutral" | "skipped")) => Standing::Passed,
        ("completed", _) => Standing::Failed,
        _ => Standing::Running,
    }
}

fn of_status(state: &str) -> Standing {
    match state {
        "success" => Standing::Passed,
        "pending" => Standing::Running,
        _ => Standing::Failed,
    }
}
