//! Where answers go: text to standard output with colours only where they are wanted (NO_COLOR, pipes), or one JSON
//! object; errors to standard error, and with `--json` as an object on standard output, where a program reads.

use std::io::{self, Write};

use owo_colors::OwoColorize;
use serde::Serialize;

use super::error::CliError;
use crate::report;

pub(super) struct Out {
    json: bool,
}

#[derive(Serialize)]
pub(super) struct Refusal<'a> {
    pub(super) error: String,
    pub(super) hint: Option<String>,
    /// Every problem of a configuration, each in a line.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) problems: &'a [String],
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// The one answer of a command.
    pub(super) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if !self.json {
            return self.text(&text(value));
        }
        let mut stdout = io::stdout().lock();
        serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from)?;
        writeln!(stdout)?;
        Ok(())
    }

    /// Lines for people, as they come; nothing with `--json`.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        if self.json || text.is_empty() {
            return Ok(());
        }
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n'))?;
        stdout.flush()?;
        Ok(())
    }

    pub(super) fn error(&self, error: &CliError) -> io::Result<()> {
        if self.json {
            return self.error_json(error);
        }
        let mut stderr = anstream::stderr().lock();
        if let CliError::Config(config) = error {
            let shown = config.render(true);
            if !shown.is_empty() {
                writeln!(stderr, "{shown}\n")?;
            }
        }
        let text = report::people(error, error.hint().as_deref());
        match text.strip_prefix("error:") {
            Some(rest) => writeln!(stderr, "{}{rest}", "error:".red().bold()),
            None => writeln!(stderr, "{text}"),
        }
    }

    fn error_json(&self, error: &CliError) -> io::Result<()> {
        let problems: Vec<String> = match error {
            CliError::Config(config) => config.problems().iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let refusal = Refusal { error: report::line(error), hint: error.hint(), problems: &problems };
        let mut stdout = io::stdout().lock();
        serde_json::to_writer_pretty(&mut stdout, &refusal)?;
        writeln!(stdout)
    }
}
