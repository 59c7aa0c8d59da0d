//! `agent completions`: from the one tree of commands, for whatever shell.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::error::{CliError, Code};

pub(super) fn completions(shell: Shell) -> Result<Code, CliError> {
    // Into memory first: the generator does not take a closed pipe well.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agent", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Code::Good)
}
