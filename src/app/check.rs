//! `agent check`: what is wrong on this machine, and the mend. Looks, and changes nothing.

use serde::Serialize;

use crate::config::Config;
use crate::engine::Engine;
use crate::report;

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
    Doubtful,
    Wrong,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), level: Level::Good, found: found.into(), mend: None }
    }

    fn wrong(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.to_owned(), level: Level::Wrong, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Looks at everything that must be right before a push can go live. The configuration itself has been read.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::good("configuration", "every key is understood")];
    findings.extend(config.warnings().into_iter().map(|warning| Finding {
        what: warning.key.to_string(),
        level: Level::Doubtful,
        found: warning.message,
        mend: Some(warning.hint),
    }));
    findings.push(engine(config).await);
    findings.push(remote(config).await);
    findings.push(state(config));
    findings
}

async fn engine(config: &Config) -> Finding {
    const WHAT: &str = "engine";
    let facts = match super::connect(config).await {
        Ok(engine) => engine.facts().await,
        Err(error) => Err(error),
    };
    match facts {
        Ok(facts) => Finding::good(WHAT, format!("Docker {} (API {})", facts.version, facts.api_version)),
        Err(error) => Finding::wrong(
            WHAT,
            report::line(&error),
            "systemctl start docker, and see `socket` under [engine]",
        ),
    }
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

fn state(config: &Config) -> Finding {
    const WHAT: &str = "state folder";
    let path = &config.state;
    let parent = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    match rustix::fs::access(parent, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Finding::good(WHAT, path.display().to_string()),
        Err(error) => Finding::wrong(
            WHAT,
            format!("{} cannot be written: {error}", parent.display()),
            "run the agent as its own user, or change `state`",
        ),
    }
}
