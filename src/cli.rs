//! The command line: arguments to orders and questions, answers to text for people or JSON for programs.
//!
//! It decides nothing about the stack. What a command needs done, the daemon does, or, when none runs, this process
//! with the same loop. What can be read from the record is read there, so that reading works with the daemon down.

mod args;
mod check;
mod client;
mod completions;
mod error;
mod follow;
mod history;
mod init;
mod log;
mod logs;
mod man;
mod order;
mod out;
mod plan;
mod progress;
mod reach;
mod show;
mod status;
mod stripe;
mod verdict;
mod why;
mod width;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use error::{CliError, Code};
use out::Out;

use crate::app::Kept;
use crate::config::Config;
use crate::orders::Order;
use crate::overview::time;
use crate::{app, source};

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    let out = Out::new(cli.json);
    match dispatch(cli, &out) {
        Ok(code) => code.into(),
        // Whoever read our output has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to tell of an error that cannot be written.
            let _ = out.error(&error);
            error.code().into()
        }
    }
}

fn dispatch(cli: Cli, out: &Out) -> Result<Code, CliError> {
    // Neither looks for a configuration.
    match &cli.command {
        Command::Completions { shell } => return completions::completions(*shell),
        Command::Man { folder } => return man::man(folder),
        _ => {}
    }
    let path = match &cli.command {
        Command::Init(given) => init::init(cli.config.as_deref(), given, out)?,
        _ => Config::locate(cli.config.as_deref())?,
    };
    let mut kept = match &cli.command {
        Command::Run => Kept::take(),
        _ => Kept::default(),
    };
    let config = match kept.configuration() {
        Some(text) => Config::of(&path, &text)?,
        None => Config::load(&path)?,
    };
    log::start(&cli.command, &config.log);
    if cli.command.may_ask_the_remote() {
        // Before the runtime, whose threads it must not race with.
        let source = &config.source;
        source::timeouts::limit(source.connect_timeout, source.read_timeout, source.ca_file.as_deref())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(CliError::Runtime)?.block_on(command(cli.command, &path, config, kept, out))
}

async fn command(
    command: Command,
    path: &Path,
    config: Config,
    kept: Kept,
    out: &Out,
) -> Result<Code, CliError> {
    match command {
        Command::Run => {
            app::run(config, path, kept).await?;
            Ok(Code::Good)
        }
        // Answered before a configuration is looked for.
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { folder } => man::man(&folder),
        Command::Check | Command::Init(_) => check::check(&config, out).await,
        Command::Config => plan::config(config, out).await,
        Command::Plan => plan::plan(config, out).await,
        Command::Deploy(deploy) => order::deploy(config, &deploy, out).await,
        Command::Rollback(rollback) => order::rollback(config, &rollback, out).await,
        Command::Reload => order::reload(&config, out).await,
        Command::Pause(pause) => order::pause(config, &pause, out).await,
        Command::Resume(wait) => order::give(config, &Order::Resume, wait, out).await,
        Command::Retry(wait) => order::give(config, &Order::Retry, wait, out).await,
        Command::Down(down) => order::down(config, &down, out).await,
        Command::Status => status::status(&config, out).await,
        Command::Why(asked) => why::why(&config, &asked, out).await,
        Command::History(history) => history::history(&config, &history, out).await,
        Command::Show(show) => show::show(&config, &show, out).await,
        Command::Logs(logs) => logs::logs(&config, &logs, out).await,
        Command::Stripe(asked) => stripe::stripe(&config, asked, out).await,
    }
}

/// Help, the version, or arguments that are not understood.
fn unparsed(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let _ = Out::new(true).error(&CliError::Usage { message: text.trim().to_owned(), hint: None });
    } else {
        let _ = error.print();
    }
    if error.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS }
}

#[cfg(test)]
pub(crate) mod tests;
