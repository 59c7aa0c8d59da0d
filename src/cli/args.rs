//! The tree of commands. Help texts are the manual: what a command does, what it leaves alone, what to try next.

use std::net::SocketAddr;
pub(super) mod stripe;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::parse_duration;
use crate::model::forge::Forge;
use crate::model::run::{ReleaseId, RunId};

const EVERYWHERE: &str = "For every command";
/// Each line is indented: the manual would put others into the line before.
const EXIT_CODES: &str = "\
Exit codes:
    0  done, or nothing to do
    1  the run failed, or what was asked for cannot be done
    2  the command line or the configuration is not right
    3  the engine, the remote or the daemon could not be reached
  130  interrupted while waiting";

/// Runs a Compose stack from a Git repository, without losing a request
///
/// The daemon (`agent run`) watches a branch, rebuilds only images whose inputs changed, rolls the containers behind
/// health gates and keeps nginx pointed at them. The other commands look at it or tell it what to do.
#[derive(Debug, Parser)]
#[command(name = "agent", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    /// The configuration file [default: AGENT_CONFIG, else /etc/agent/agent.toml, else ./agent.toml]
    #[arg(long, global = true, value_name = "PATH", help_heading = EVERYWHERE)]
    pub(super) config: Option<PathBuf>,

    /// Write one JSON object instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon: watch the branch and keep the stack as it says
    ///
    /// Ends on SIGTERM or SIGINT. The apps and nginx go on without it; a run that was cut off is brought to its end
    /// by the next start. Takes up a changed configuration on SIGHUP.
    Run,
    /// Write a configuration, with the secrets it needs, and say what is left to do at the forge
    ///
    /// Asks for what is not given, if somebody is at the keyboard. Goes on with `agent check`. Overwrites nothing.
    Init(Init),
    /// Look at this machine and the configuration, and say what is wrong and how to mend it
    ///
    /// Changes nothing. Ends with 1 when something would keep the next push from going live.
    Check,
    /// Print the stack at the tip of the branch as it is understood
    ///
    /// Always JSON, in the shape of `docker compose config --format json`: every variable resolved, every default
    /// written out. It holds the stack's environment, secrets included.
    Config,
    /// Say what a deploy would do, and why, without doing it
    Plan,
    /// Look at the branch now and make its newest revision live
    ///
    /// Waits until it is live or has failed. A revision that failed before is not tried again: `agent retry` does.
    Deploy(Deploy),
    /// Say what runs, what is wrong and what waits
    ///
    /// Works with the daemon or the engine down too.
    Status,
    /// Say all that is known of a service: what rolled it last and why, its order, gate and last failure
    ///
    /// Works with the daemon or the engine down too.
    Why(Why),
    /// List the runs, newest first
    History(History),
    /// Tell the story of a run, or what a release holds
    Show(Show),
    /// Print what the containers write, or the build logs of a run
    Logs(Logs),
    /// Go back to an earlier release, whole: images, configuration, routes
    ///
    /// Needs no network and no build. What is left behind stays out until the next new commit.
    Rollback(Rollback),
    /// Do nothing by itself for a while: no deploy, no healing, no way back
    ///
    /// For work on the machine by hand. A run in progress goes on to its end; `rollback` and `down` still do what they
    /// say. The pause outlives a restart of the agent and ends with `agent resume`.
    Pause(Pause),
    /// End a pause, or follow the branch again after a rollback or `down`
    ///
    /// The tip of the branch goes live, also when it is what was rolled back. After `down` what ran comes back first, and
    /// what was held then still is.
    Resume(Wait),
    /// Try the tip of the branch again although it failed or went bad
    ///
    /// Where services broke again and again, and are therefore no longer mended, these are mended instead.
    Retry(Wait),
    /// Let the daemon take up a changed configuration, if it is right
    ///
    /// Nobody is refused meanwhile, and a run in the middle goes on from its record, as after a restart. With a
    /// configuration that is wrong everything stays as it is, and this ends with 2. SIGHUP does the same.
    Reload,
    /// Stop and remove the stack's containers and networks
    ///
    /// Volumes, images and the history stay. `agent resume` or `agent deploy` brings the stack back.
    Down(Down),
    /// Look at Stripe's events, send them again, simulate them
    Stripe(stripe::Stripe),
    /// Print a completion script for a shell
    ///
    /// For bash: agent completions bash > /etc/bash_completion.d/agent
    Completions {
        /// The shell to write for
        shell: Shell,
    },
    /// Write the manual pages into a folder
    ///
    /// For those who make packages: a page for each command, and one for each of its own commands.
    #[command(hide = true)]
    Man {
        /// The folder, which must be there
        folder: PathBuf,
    },
}

impl Command {
    /// Whether this process itself may talk to the remote.
    pub(super) fn may_ask_the_remote(&self) -> bool {
        !matches!(
            self,
            Self::Status
                | Self::Why(_)
                | Self::History(_)
                | Self::Show(_)
                | Self::Logs(_)
                | Self::Stripe(_)
                | Self::Reload
        )
    }
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The repository: https://HOST/PATH, git@HOST:PATH, ssh://git@HOST/PATH or file:///PATH
    #[arg(long)]
    pub(super) url: Option<String>,
    /// The stack's name: containers, networks and volumes begin with it [default: the repository's]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The branch to follow [default: main]
    #[arg(long)]
    pub(super) branch: Option<String>,
    /// The compose file in the repository [default: compose.yaml]
    #[arg(long, value_name = "PATH")]
    pub(super) compose: Option<String>,
    /// For https: a file with a token that may read the repository
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// For ssh: a fingerprint that the host publishes; several are possible [default: those it shows now]
    #[arg(long = "host-key", value_name = "SHA256:…")]
    pub(super) host_keys: Vec<String>,
    /// Whose webhooks will come, where the address does not tell: github, gitlab, gitea, forgejo, bitbucket
    #[arg(long, value_parser = forge)]
    pub(super) forge: Option<Forge>,
    /// The repository as the forge names it, where the address does not tell: owner/name
    #[arg(long, value_name = "NAME")]
    pub(super) repository: Option<String>,
    /// Below which path the stack's nginx passes webhooks on, so that no other port has to be open: /webhooks/
    #[arg(long, value_name = "PATH")]
    pub(super) publish: Option<String>,
    /// Where the agent listens for webhooks
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(super) listen: SocketAddr,
    /// Where the agent keeps what it must not forget [default: /var/lib/agent]
    #[arg(long, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
}

fn forge(text: &str) -> Result<Forge, String> {
    let known = Forge::ALL.into_iter().find(|forge| forge.name() == text);
    known.ok_or_else(|| format!("known are {}", Forge::ALL.map(Forge::name).join(", ")))
}

#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Allow this once that most services, or all, are gone from the stack
    #[arg(long)]
    pub(super) allow_prune: bool,
    /// Do not wait for the end of a freeze
    #[arg(long)]
    pub(super) despite_freeze: bool,
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

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The service, as the compose file names it
    pub(super) service: String,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// How many runs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) lines: usize,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// A run by its number, or a release as `release:N`
    #[arg(value_name = "RUN | release:N")]
    pub(super) what: What,
}

/// What `agent show` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Run(RunId),
    Release(ReleaseId),
}

impl FromStr for What {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, number) = text.split_once(':').unwrap_or(("run", text));
        let number = number.parse().map_err(|_| "write 12 for a run, release:12 for a release")?;
        match kind {
            "run" => Ok(Self::Run(RunId(number))),
            "release" => Ok(Self::Release(ReleaseId(number))),
            _ => Err("write 12 for a run, release:12 for a release"),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The service whose newest container is meant [default: all]
    pub(super) service: Option<String>,
    /// Go on as more is written, also by the containers that take their places
    #[arg(short, long)]
    pub(super) follow: bool,
    /// How many lines of what is already written
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(super) lines: usize,
    /// The build logs of this run instead
    #[arg(long, value_name = "RUN", conflicts_with_all = ["service", "follow", "lines"])]
    pub(super) run: Option<i64>,
    /// The container that is kept because it failed, until the next run succeeds
    #[arg(long, conflicts_with_all = ["service", "follow", "run"])]
    pub(super) failed: bool,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// How long, such as 30m or 2h [default: until `agent resume`]
    #[arg(long = "for", value_name = "TIME", value_parser = length_of_time)]
    pub(super) long: Option<Duration>,
}

fn length_of_time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).filter(|time| !time.is_zero()).ok_or("write whole numbers with a unit: 30m, 2h, 1d")
}

#[derive(Debug, Args)]
pub(super) struct Down {
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) wait: Wait,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Wait {
    /// Only give the order: the daemon obeys it on its own, or at its next start
    #[arg(long)]
    pub(super) no_wait: bool,
}
