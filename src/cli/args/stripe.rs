//! The commands about Stripe's events.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::inbox::State;

#[derive(Debug, Args)]
pub(in super::super) struct Stripe {
    #[command(subcommand)]
    pub(in super::super) command: StripeCommand,
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum StripeCommand {
    /// List the events that came, newest first
    Events(Events),
    /// Tell an event's story: who got it, every attempt and its answer, the body
    Show(ShowEvent),
    /// Print events and attempts as they happen, until interrupted
    ///
    /// The lines are those of the Stripe CLI's `listen`. With --json, an object a line.
    Tail,
    /// Deliver again: one event, those of a time, or all that are dead
    ///
    /// What was delivered is delivered once more. Attempts begin anew, over three days.
    Resend(Resend),
    /// Give up deliveries that are dead: one event's, or all
    Discard(Discard),
    /// Simulate an event, without Stripe: signed with the endpoint's secret, kept and delivered as any other
    ///
    /// Apps see `X-Relay-Trigger: simulated`. Nothing but this machine can make such an event.
    Trigger(Trigger),
    /// The secrets with which the agent signs for the services
    #[command(subcommand)]
    Secrets(Secrets),
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum Secrets {
    /// Make a new secret for a destination
    ///
    /// Its service is rolled with the new one in its environment; deliveries are signed with both for a day.
    Rotate {
        /// The destination, as `agent stripe events` names it
        destination: String,
    },
}

#[derive(Debug, Args)]
pub(in super::super) struct Events {
    /// How many events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(in super::super) lines: usize,
    /// Only of this type, or of those that begin so: invoice.*
    #[arg(long = "type", value_name = "TYPE")]
    pub(in super::super) kind: Option<String>,
    /// Only what came to this endpoint
    #[arg(long, value_name = "NAME")]
    pub(in super::super) endpoint: Option<String>,
    /// Only what goes to this destination
    #[arg(long, value_name = "DESTINATION")]
    pub(in super::super) to: Option<String>,
    /// Only with a delivery that is …
    #[arg(long)]
    pub(in super::super) state: Option<StateArg>,
    /// Only what came from this moment on: 2h, 3d or 2026-11-22T14:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(in super::super) since: Option<Moment>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in super::super) enum StateArg {
    Pending,
    Delivered,
    Dead,
    Discarded,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Pending => Self::Pending,
            StateArg::Delivered => Self::Delivered,
            StateArg::Dead => Self::Dead,
            StateArg::Discarded => Self::Discarded,
        }
    }
}

#[derive(Debug, Args)]
pub(in super::super) struct ShowEvent {
    /// The event's id
    pub(in super::super) event: String,
    /// Of an id that came to several endpoints, the one of this [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub(in super::super) endpoint: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["event", "since", "dead"])))]
pub(in super::super) struct Resend {
    /// The event's id
    pub(in super::super) event: Option<String>,
    /// All that came from this moment on: 2h, 3d or 2026-11-22T14:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(in super::super) since: Option<Moment>,
    /// With --since: only what came before this moment
    #[arg(long, value_name = "WHEN", requires = "since")]
    pub(in super::super) until: Option<Moment>,
    /// With --since: only of this type, or of those that begin so: invoice.*
    #[arg(long = "type", value_name = "TYPE", requires = "since")]
    pub(in super::super) kind: Option<String>,
    /// All deliveries that are dead
    #[arg(long)]
    pub(in super::super) dead: bool,
    /// Only to this destination [default: all that want the event]
    #[arg(long, value_name = "DESTINATION")]
    pub(in super::super) to: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["event", "dead"])))]
pub(in super::super) struct Discard {
    /// The event's id: also what is still to be tried of it
    pub(in super::super) event: Option<String>,
    /// All deliveries that are dead
    #[arg(long)]
    pub(in super::super) dead: bool,
    /// Only to this destination
    #[arg(long, value_name = "DESTINATION")]
    pub(in super::super) to: Option<String>,
}

#[derive(Debug, Args)]
pub(in super::super) struct Trigger {
    /// The event's type, such as checkout.session.completed
    #[arg(required_unless_present = "body")]
    pub(in super::super) kind: Option<String>,
    /// The endpoint at which it is to come in
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(in super::super) endpoint: String,
    /// Set a place in the event: data.object.amount_total=4200
    #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
    pub(in super::super) set: Vec<(String, String)>,
    /// Send this file as the event
    #[arg(long, value_name = "FILE")]
    pub(in super::super) body: Option<PathBuf>,
    /// The connected account it is about
    #[arg(long, value_name = "ACCOUNT")]
    pub(in super::super) account: Option<String>,
    /// A thin event, which only names its object
    #[arg(long)]
    pub(in super::super) thin: bool,
    /// Signed this many seconds ago: beyond 300 it is refused
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    pub(in super::super) age: i64,
    /// How many, one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in super::super) times: u32,
    /// Sign it wrongly: it must be refused
    #[arg(long)]
    pub(in super::super) bad_sig: bool,
    /// Print the event and send nothing
    #[arg(long)]
    pub(in super::super) dry_run: bool,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, such as data.object.amount=4200")?;
    Ok((path.to_owned(), value.to_owned()))
}

/// A moment in milliseconds since the Unix epoch, said as such or as how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Moment(pub(in super::super) i64);

impl Moment {
    fn read(text: &str, now: i64) -> Option<Self> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(moment.timestamp_millis()));
        }
        let unit = text.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Self(now - i64::from(count) * seconds * 1000))
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let now = Utc::now().timestamp_millis();
        Self::read(text, now).ok_or("write how long ago (30m, 2h, 3d) or a moment (2026-11-22T14:00:00Z)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_as_such_or_as_how_long_ago() {
        let now = 1_700_000_000_000;
        let read = |text| Moment::read(text, now).map(|moment| moment.0);
        assert_eq!(read("90s"), Some(now - 90_000));
        assert_eq!(read("30m"), Some(now - 1_800_000));
        assert_eq!(read("2h"), Some(now - 7_200_000));
        assert_eq!(read("3d"), Some(now - 259_200_000));
        assert_eq!(read("2023-11-14T22:13:20Z"), Some(now));
        assert_eq!(read("2023-11-14T23:13:20+01:00"), Some(now));
        for bad in ["", "h", "2", "-2h", "2 h", "2y", "yesterday", "2023-11-14", "5é"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
