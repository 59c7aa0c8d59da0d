//! `agent stripe tail`: events and attempts as they happen, in the lines of the Stripe CLI's `listen`.

use std::io::{self, Write};
use std::time::Duration;

use super::super::error::{CliError, Code};
use super::super::out::Out;
use super::super::time::Clock;
use crate::app;
use crate::config::Config;
use crate::inbox::Seen;

const EVERY: Duration = Duration::from_millis(200);

pub(super) async fn tail(config: &Config, out: &Out) -> Result<Code, CliError> {
    let reader = app::events(config)?;
    let (mut events, mut attempts) = reader.ends().await?;
    loop {
        for seen in reader.since(events, attempts).await? {
            match &seen {
                Seen::Event(event) => events = events.max(event.number),
                Seen::Attempt(attempt) => attempts = attempts.max(attempt.number),
            }
            if out.json() {
                let mut stdout = io::stdout().lock();
                serde_json::to_writer(&mut stdout, &seen).map_err(io::Error::from)?;
                writeln!(stdout)?;
                stdout.flush()?;
            } else {
                out.text(&line(&seen, &Clock::local()))?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            interrupted = tokio::signal::ctrl_c() => return interrupted.map(|()| Code::Good).map_err(CliError::from),
        }
    }
}

pub(in super::super) fn line(seen: &Seen, clock: &Clock) -> String {
    let time = |at: i64| (clock.wall)(at).format("%Y-%m-%d %H:%M:%S").to_string();
    match seen {
        Seen::Event(event) => {
            let connect = if event.account.is_some() { "connect " } else { "" };
            let nobody = if event.deliveries.is_empty() { " (nobody wants it)" } else { "" };
            format!("{}   --> {connect}{} [{}]{nobody}", time(event.received), event.kind, event.id)
        }
        Seen::Attempt(attempt) => {
            let at = time(attempt.at + attempt.took);
            match (attempt.status, &attempt.trouble) {
                (Some(status), _) => {
                    format!("{at}  <--  [{status}] POST {} [{}]", attempt.url, attempt.event)
                }
                (None, trouble) => {
                    let trouble = trouble.as_deref().unwrap_or("no answer");
                    let (url, event) = (&attempt.url, &attempt.event);
                    format!("{at}            [ERROR] Failed to POST: {url}: {trouble} [{event}]")
                }
            }
        }
    }
}
