//! `agent check`: each thing that was looked at, a line, and below what is wrong the mend.

use owo_colors::OwoColorize;
use serde::Serialize;

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::client::Client;
use super::error::{CliError, Code};
use super::out::Out;
use super::reach::Agent;
use crate::app;
use crate::app::check::{Asked, Daemon, Finding, Level};
use crate::config::Config;
use crate::model::run::Failure;
use crate::report;

#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) good: bool,
    pub(super) findings: Vec<Finding>,
}

pub(super) async fn check(config: &Config, out: &Out) -> Result<Code, CliError> {
    let daemon = match Client::find(config).await {
        Ok(None) => Daemon::Absent,
        Ok(Some(client)) if client.status().await.is_ok() => Daemon::Answers,
        _ => Daemon::Silent,
    };
    let findings = app::check::check(config, daemon, || asked(config)).await;
    let good = findings.iter().all(|finding| finding.level != Level::Wrong);
    out.answer(&Checked { good, findings }, |checked| text(&checked.findings))?;
    Ok(if good { Code::Good } else { Code::Failed })
}

/// What the tip asks for, as the daemon sees it, or this process with the daemon's own hands.
async fn asked(config: &Config) -> Result<Asked, Failure> {
    let scratch = Scratch::instead_of(config);
    let mut config = config.clone();
    if let Some(Scratch(folder)) = &scratch {
        config.state.clone_from(folder);
    }
    let held = held(&config).await;
    let agent = Agent::reach(config).await.map_err(failure)?;
    let preview = agent.plan().await.map_err(failure)?;
    let project = agent.config().await.map_err(failure)?;
    Ok(Asked { preview, project, held })
}

fn failure(error: CliError) -> Failure {
    let hint = error.hint();
    match error {
        CliError::Refused { failure, .. } => failure,
        error => Failure { message: report::line(&error), hint, ..Failure::default() },
    }
}

/// The ports that the release which runs has published.
async fn held(config: &Config) -> BTreeSet<u16> {
    let Ok(record) = app::lookup(config) else { return BTreeSet::new() };
    let Ok(Some(release)) = record.current().await else { return BTreeSet::new() };
    let services = release.desired.services.values();
    let ports = services.flat_map(|service| &service.template.ports);
    ports.filter_map(|port| port.host).collect()
}

/// A state folder for one look, where there is none yet: a check leaves nothing behind.
struct Scratch(PathBuf);

impl Scratch {
    fn instead_of(config: &Config) -> Option<Self> {
        let name = format!("agent-check-{}", std::process::id());
        (!config.state.exists()).then(|| Self(std::env::temp_dir().join(name)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is in the folder that a reboot empties.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(findings: &[Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for Finding { what, level, found, mend } in findings {
        let sign = match level {
            Level::Good => "✓".green().to_string(),
            Level::Doubtful => "!".yellow().bold().to_string(),
            Level::Wrong => "✗".red().bold().to_string(),
        };
        lines.push(format!("{sign} {what:widest$}  {found}"));
        lines.extend(mend.iter().map(|mend| format!("  {:widest$}  {} {mend}", "", "mend:".bold())));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_with_its_mend() {
        let finding = |what: &str, level, found: &str, mend: Option<&str>| Finding {
            what: what.into(),
            level,
            found: found.into(),
            mend: mend.map(str::to_owned),
        };
        let findings = [
            finding("engine", Level::Good, "Docker 20.10.24 (API 1.41)", None),
            finding("source.url", Level::Doubtful, "whoever is on the way can read it", Some("use https://")),
            finding("remote", Level::Wrong, "cannot reach https://example.com", Some("try again")),
        ];
        let plain = anstream::adapter::strip_str(&text(&findings)).to_string();
        insta::assert_snapshot!(plain, @r"
        ✓ engine      Docker 20.10.24 (API 1.41)
        ! source.url  whoever is on the way can read it
                      mend: use https://
        ✗ remote      cannot reach https://example.com
                      mend: try again
        ");
    }
}
