//! `agent logs`: what the containers write, and what builds wrote.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};

use futures_util::future::try_join_all;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::args;
use super::error::{CliError, Code};
use super::out::Out;
use crate::app::{self, ViewError};
use crate::config::Config;
use crate::model::run::RunId;

#[derive(Serialize)]
pub(super) struct Texts {
    pub(super) logs: Vec<Text>,
}

#[derive(Serialize)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) async fn logs(config: &Config, asked: &args::Logs, out: &Out) -> Result<Code, CliError> {
    match asked.run {
        Some(run) => of_run(config, RunId(run), out).await,
        None if asked.follow && out.json() => {
            let message = "what is followed has no end, and --json writes one object".to_owned();
            Err(CliError::Usage { message, hint: Some("leave one of --follow and --json out".into()) })
        }
        None if asked.failed => of_failed(config, asked.lines, out).await,
        None => of_services(config, asked, out).await,
    }
}

fn unreachable(error: ViewError) -> CliError {
    CliError::Unreachable {
        what: "the containers cannot be asked".to_owned(),
        hint: Some("agent check"),
        source: Some(error.into()),
    }
}

async fn of_failed(config: &Config, lines: usize, out: &Out) -> Result<Code, CliError> {
    let Some((name, text)) = app::logs::failed(config, lines).await.map_err(unreachable)? else {
        let message = "no failed container is kept".to_owned();
        return Err(CliError::Usage { message, hint: Some("agent history lists what failed".into()) });
    };
    out.answer(&Texts { logs: vec![Text { name, text }] }, |texts| {
        let texts = texts.logs.iter().map(|log| format!("{}\n{}", log.name.bold(), log.text));
        texts.collect()
    })?;
    Ok(Code::Good)
}

async fn of_services(config: &Config, asked: &args::Logs, out: &Out) -> Result<Code, CliError> {
    let services = match &asked.service {
        Some(service) => vec![service.clone()],
        None => services(config).await.map_err(unreachable)?,
    };
    if services.is_empty() {
        let message = format!("nothing of {} runs", config.stack.name);
        return Err(CliError::Usage { message, hint: Some("agent status".into()) });
    }
    let several = services.len() > 1;
    let widest = services.iter().map(|name| name.len()).max().unwrap_or(0);
    let stopped = RefCell::new(None);
    let streams = services.iter().map(|service| {
        let mut lines =
            Lines::new(several.then(|| format!("{:widest$} | ", service).cyan().to_string()), out);
        let stopped = &stopped;
        async move {
            let found = {
                let chunk = |bytes: &[u8]| {
                    if let Err(error) = lines.take(bytes) {
                        stopped.borrow_mut().get_or_insert(error);
                    }
                };
                tokio::select! {
                    found = print(config, service, asked, chunk) => found,
                    // A reader that went away is noticed by writing alone; nothing more is to be said to it.
                    () = until(|| stopped.borrow().is_some()) => Ok(true),
                }
            };
            found.map(|found| (service, found, lines.end()))
        }
    });
    let texts = try_join_all(streams).await.map_err(unreachable)?;
    if let Some(error) = stopped.into_inner() {
        return Err(error.into());
    }
    if let Some((service, ..)) = texts.iter().find(|(_, found, _)| !found) {
        let message = format!("{service} has no container");
        return Err(CliError::Usage { message, hint: Some("agent status lists the services".into()) });
    }
    let logs = texts.into_iter().map(|(name, _, text)| Text { name: name.clone(), text }).collect();
    if out.json() {
        out.answer(&Texts { logs }, |_| String::new())?;
    }
    Ok(Code::Good)
}

/// Whether the service has a container.
async fn print(
    config: &Config,
    service: &str,
    asked: &args::Logs,
    mut chunk: impl FnMut(&[u8]),
) -> Result<bool, ViewError> {
    if asked.follow {
        return app::logs::follow(config, service, asked.lines, chunk).await;
    }
    let text = app::logs::last(config, service, asked.lines).await?;
    Ok(text.map(|text| chunk(text.as_bytes())).is_some())
}

async fn services(config: &Config) -> Result<Vec<String>, ViewError> {
    app::observe(config).await.map(|observed| {
        let mut names: Vec<String> = observed.instances.into_iter().map(|i| i.service).collect();
        names.dedup();
        names
    })
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Chunks to whole lines, each with the name of who wrote it; with `--json` they are kept instead.
struct Lines {
    lead: Option<String>,
    keep: bool,
    text: Vec<u8>,
}

impl Lines {
    fn new(lead: Option<String>, out: &Out) -> Self {
        Self { lead, keep: out.json(), text: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(bytes);
        if self.keep {
            return Ok(());
        }
        let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.text.split_off(end + 1);
        let whole = std::mem::replace(&mut self.text, rest);
        self.write(&whole)
    }

    fn write(&self, whole: &[u8]) -> io::Result<()> {
        let mut stdout = anstream::stdout().lock();
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            if let Some(lead) = &self.lead {
                stdout.write_all(lead.as_bytes())?;
            }
            stdout.write_all(line)?;
        }
        stdout.flush()
    }

    /// What is left: everything with `--json`, else a last line without an end.
    fn end(mut self) -> String {
        if !self.keep && !self.text.is_empty() {
            self.text.push(b'\n');
            // The last line of a reader that may have gone away.
            let _ = self.write(&self.text);
        }
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// The logs of the images that a run built.
async fn of_run(config: &Config, run: RunId, out: &Out) -> Result<Code, CliError> {
    // A run that there never was is another answer than one that built nothing.
    app::lookup(config)?.run(run).await?;
    let folder = config.state.join("runs").join(run.to_string());
    let mut logs = Vec::new();
    if let Ok(entries) = fs::read_dir(&folder) {
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            logs.push(Text { name, text: String::from_utf8_lossy(&fs::read(&path)?).into_owned() });
        }
    }
    logs.sort_by(|a, b| a.name.cmp(&b.name));
    out.answer(&Texts { logs }, |texts| {
        if texts.logs.is_empty() {
            return format!("run {run} built nothing, or its logs are past their time");
        }
        let shown =
            texts.logs.iter().map(|log| format!("{}\n{}", format!("==> {} <==", log.name).bold(), log.text));
        shown.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Code::Good)
}
