//! `agent check`: each thing that was looked at, a line, and below what is wrong the mend.

use owo_colors::OwoColorize;
use serde::Serialize;

use super::error::{CliError, Code};
use super::out::Out;
use crate::app;
use crate::app::check::{Finding, Level};
use crate::config::Config;

#[derive(Serialize)]
struct Checked {
    good: bool,
    findings: Vec<Finding>,
}

pub(super) async fn check(config: &Config, out: &Out) -> Result<Code, CliError> {
    let findings = app::check::check(config).await;
    let good = findings.iter().all(|finding| finding.level != Level::Wrong);
    out.answer(&Checked { good, findings }, |checked| text(&checked.findings))?;
    Ok(if good { Code::Good } else { Code::Failed })
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
