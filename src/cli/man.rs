//! `agent man`: the manual pages, from the one tree of commands. Hidden, since only who makes a package needs it.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use super::error::{CliError, Code};

pub(super) fn man(folder: &Path) -> Result<Code, CliError> {
    let mut tree = Cli::command().disable_help_subcommand(true);
    // Names each command in full, which is what its page is called.
    tree.build();
    write(&tree, folder)?;
    Ok(Code::Good)
}

fn write(command: &Command, folder: &Path) -> io::Result<()> {
    // Without a date the pages are the same for the same program. An empty one would let the version slip into its place.
    let page = Man::new(command.clone()).date(" ").source(concat!("agent ", env!("CARGO_PKG_VERSION")));
    page.generate_to(folder)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| write(below, folder))
}
