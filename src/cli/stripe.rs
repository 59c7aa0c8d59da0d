//! `agent stripe …`: what came from Stripe and what became of it; sending again; simulating.
//!
//! Looking works with the daemon down. Orders are the daemon's to obey: it alone delivers.

pub(super) mod events;
mod orders;
mod show;
mod tail;

use super::args::stripe::{Secrets, Stripe, StripeCommand};
use super::error::{CliError, Code};
use super::out::Out;
use crate::config::Config;

pub(super) async fn stripe(config: &Config, asked: Stripe, out: &Out) -> Result<Code, CliError> {
    match asked.command {
        StripeCommand::Events(events) => events::events(config, events, out).await,
        StripeCommand::Show(show) => show::show(config, show, out).await,
        StripeCommand::Tail => tail::tail(config, out).await,
        StripeCommand::Resend(resend) => orders::resend(config, resend, out).await,
        StripeCommand::Discard(discard) => orders::discard(config, discard, out).await,
        StripeCommand::Trigger(trigger) => orders::trigger(config, trigger, out).await,
        StripeCommand::Secrets(Secrets::Rotate { destination }) => {
            orders::rotate(config, destination, out).await
        }
    }
}

#[cfg(test)]
mod tests;
