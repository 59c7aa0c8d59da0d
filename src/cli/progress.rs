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

pub(super) struct Progress<'a> {
    out: &'a Out,
    /// Runs up to this one are an old story.
    after: RunId,
    told: Vec<(RunId, usize)>,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(out: &'a Out, after: RunId) -> Self {
        let watched = !out.json() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bar = watched.then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK);
            bar
        });
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

    async fn tell_run(&mut self, record: &Record, run: &Run) -> Result<(), CliError> {
        let known = self.told.iter().position(|(id, _)| *id == run.id);
        let index = match known {
            Some(index) => index,
            None => {
                let Run { id, kind, revision, subject, .. } = run;
                self.line(&format!("run {id}: {kind} {} {subject:?}", short(revision)))?;
                self.told.push((run.id, 0));
                self.told.len() - 1
            }
        };
        for logged in record.log(run.id, self.told[index].1).await? {
            self.told[index].1 += 1;
            let text = said(&logged.entry);
            // How it ended is the command's last line.
            if !matches!(logged.entry, Entry::Ended { .. }) {
                self.line(&format!("{} {text}", format!("#{}", run.id).dimmed()))?;
                self.step(&text);
            }
        }
        Ok(())
    }

    fn step(&self, text: &str) {
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

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
