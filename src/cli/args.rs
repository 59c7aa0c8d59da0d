//! The tree of commands. Help texts are the manual: what a command does, what it leaves alone, what to try next.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  the run failed, or what was asked for cannot be done
  2  the command line or the configuration is not right
  3  the engine, the remote or the daemon could not be reached";

/// Runs a Compose stack from a Git repository, without losing a request
///
/// The daemon (`agent run`) watches a branch, rebuilds only images whose inputs changed, rolls the containers behind
/// health gates and keeps nginx pointed at them. The other commands look at it or tell it what to do.
#[derive(Debug, Parser)]
#[command(name = "agent", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    /// The configuration file [default: AGENT_CONFIG, else /etc/agent/agent.toml, else ./agent.toml]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,

    /// Write one JSON object instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon: watch the branch and keep the stack as it says
    ///
    /// Ends on SIGTERM or SIGINT. The apps and nginx go on without it; a run that was cut off is brought to its end
    /// by the next start.
    Run,
    /// Look at the branch now and make its newest revision live
    ///
    /// Waits until it is live or has failed. A revision that failed before is not tried again: `agent retry` does.
    Deploy(Deploy),
    /// Say what runs, what is wrong and what waits
    Status,
    /// Go back to an earlier release, whole: images, configuration, routes
    ///
    /// Needs no network and no build. What is left behind stays out until the next new commit.
    Rollback(Rollback),
}

impl Command {
    /// Whether this process itself may talk to the remote.
    pub(super) fn may_ask_the_remote(&self) -> bool {
        !matches!(self, Self::Status)
    }
}

#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Allow this once that most services, or all, are gone from the stack
    #[arg(long)]
    pub(super) allow_prune: bool,
    #[command(flatten)]
    pub(super) wait: Wait,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The release to go back to, as `agent status` and `agent history` number them [default: the one before]
    pub(super) release: Option<i64>,
    /// Stay there until `agent resume`, whatever is pushed
    #[arg(long)]
    pub(super) hold: bool,
    #[command(flatten)]
    pub(super) wait: Wait,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Wait {
    /// Only give the order: the daemon obeys it on its own, or at its next start
    #[arg(long)]
    pub(super) no_wait: bool,
}
