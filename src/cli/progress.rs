//! What is going on while a person waits: the record's new entries, a line each, and on a terminal the step in
//! progress below them.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

use super::error::CliError;
use super::out::Out;
use super::width::short;
use crate::model::run::{Entry, RunId};
use crate::reconcile::said;
use crate::record::{Record, Run};

const TICK: Duration = Duration::from_millis(120);

/// A run as far as it was told.
struct Told {
    run: RunId,
    entries: usize,
    switched_at: Option<i64>,
}

pub(super) struct Progress<'a> {
    out: &'a Out,
    /// Runs up to this one are an old story.
    after: RunId,
    told: Vec<Told>,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(out: &'a Out, after: RunId) -> Self {
        let bar = spinner(out);
        Self { out, after, told: Vec::new(), bar }
    }

    /// Tells what is new in the record; gives the newest run that began meanwhile.
    pub(super) async fn tell(&mut self, record: &Record) -> Result<Option<Run>, CliError> {
        let mut runs = record.runs(8).await?;
        runs.retain(|run| run.id > self.after);
        for run in runs.iter().rev() {
            self.tell_run(record, run).await?;
        }
        Ok(runs.into_iter().next())
    }

    /// When a run that was told switched requests to its instances.
    pub(super) fn switched_at(&self, run: RunId) -> Option<i64> {
        self.told.iter().find(|told| told.run == run)?.switched_at
    }

    async fn tell_run(&mut self, record: &Record, run: &Run) -> Result<(), CliError> {
        let known = self.told.iter().position(|told| told.run == run.id);
        let index = match known {
            Some(index) => index,
            None => {
                let Run { id, kind, revision, subject, .. } = run;
                self.line(&format!("run {id}: {kind} {} {subject:?}", short(revision)))?;
                self.told.push(Told { run: *id, entries: 0, switched_at: None });
                self.told.len() - 1
            }
        };
        for logged in record.log(run.id, self.told[index].entries).await? {
            self.told[index].entries += 1;
            let text = said(&logged.entry);
            match logged.entry {
                // How it ended is the command's last line.
                Entry::Ended { .. } => continue,
                Entry::Switched => self.told[index].switched_at = Some(logged.at),
                _ => {}
            }
            self.line(&format!("{} {text}", format!("#{}", run.id).dimmed()))?;
            self.step(&text);
        }
        Ok(())
    }

    /// What is being done now.
    pub(super) fn step(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.reset_elapsed();
        }
    }

    fn line(&self, text: &str) -> Result<(), CliError> {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.text(text)),
            None => self.out.text(text),
        }
    }
}

/// A line on the terminal that moves while a person waits; none where nobody looks.
pub(super) fn spinner(out: &Out) -> Option<ProgressBar> {
    let watched = !out.json() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    watched.then(|| {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        let bar = ProgressBar::new_spinner();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        bar
    })
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
