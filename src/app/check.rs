//! `agent check`: what is wrong on this machine, and the mend. Looks, and changes nothing that runs.
//!
//! Each room looks at one side: the machine, the agent's own files, what wakes it, and what the tip of the branch
//! asks of all of them. The configuration itself has been read before.

mod files;
mod machine;
mod stack;
mod wakes;

use serde::Serialize;

use crate::config::Config;
use crate::report;

pub use files::{NotWritable, writable};
pub use stack::Asked;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: String,
    pub level: Level,
    /// What was found, in a line.
    pub found: String,
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Good,
    /// It works, or it could not be looked at; somebody should know.
    Doubtful,
    /// The next push would not go live.
    Wrong,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), level: Level::Good, found: found.into(), mend: None }
    }

    fn doubtful(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.to_owned(), level: Level::Doubtful, found: found.into(), mend: Some(mend.into()) }
    }

    fn wrong(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.to_owned(), level: Level::Wrong, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Whether a daemon works in the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Answers,
    /// Something holds the socket, and says nothing.
    Silent,
    Absent,
}

/// Looks at everything that must be right before a push can go live. `asked` is what the tip of the branch asks
/// for; it is fetched and rendered only once the remote and the engine have been seen to answer.
pub async fn check<F>(config: &Config, daemon: Daemon, asked: impl FnOnce() -> F) -> Vec<Finding>
where
    F: Future<Output = Result<Asked, crate::model::run::Failure>>,
{
    let mut findings = vec![Finding::good("configuration", "every key is understood")];
    findings.extend(
        config
            .warnings()
            .into_iter()
            .map(|warning| Finding::doubtful(&warning.key, warning.message, warning.hint)),
    );
    findings.push(files::state(config));
    findings.extend(files::record(config).await);
    findings.extend(machine::clock().await);
    let engine = machine::engine(config).await;
    let remote = remote(config).await;
    let both = [&engine, &remote].iter().all(|finding| finding.level == Level::Good);
    findings.extend(machine::disks(config).await);
    findings.extend([engine, remote]);
    findings.extend(wakes::look(config, daemon).await);
    if both {
        findings.extend(stack::look(asked().await));
    } else {
        let why = "not looked at: it needs the engine and the remote";
        findings.push(Finding::doubtful(stack::WHAT, why, "mend those first, then: agent check"));
    }
    findings
}

async fn remote(config: &Config) -> Finding {
    const WHAT: &str = "remote";
    let remote = match super::open::remote(config) {
        Ok(remote) => remote,
        Err(error) => {
            return Finding::wrong(WHAT, report::line(&error), "mend [source] of the configuration");
        }
    };
    let asked = tokio::task::spawn_blocking(move || crate::source::Mirror::ask(&remote)).await;
    match asked {
        Ok(Ok(tip)) => Finding::good(WHAT, format!("{} is at {}", config.source.branch, tip.short())),
        Ok(Err(error)) => {
            let mend = error.hint().unwrap_or("try again when the remote can be reached");
            Finding::wrong(WHAT, report::line(&error), mend)
        }
        Err(error) => Finding::wrong(WHAT, error.to_string(), "please report this"),
    }
}
