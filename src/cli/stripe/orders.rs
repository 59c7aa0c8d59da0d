//! `agent stripe resend | discard | trigger | secrets rotate`: given to the daemon.

use std::path::Path;

use chrono::Utc;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::args::stripe as args;
use super::super::client::Client;
use super::super::error::{CliError, Code};
use super::super::out::Out;
use crate::config::Config;
use crate::inbox::{Again, Discarded, Rotated, Scope, Simulated, Simulation, Which};

async fn give<T: DeserializeOwned>(
    config: &Config,
    what: &'static str,
    order: &impl Serialize,
) -> Result<T, CliError> {
    let Some(daemon) = Client::find(config).await? else {
        return Err(CliError::Unreachable {
            what: "no daemon runs, and only the daemon delivers".into(),
            hint: Some("systemctl start agent"),
            source: None,
        });
    };
    daemon.stripe(what, order).await
}

pub(super) async fn resend(config: &Config, asked: args::Resend, out: &Out) -> Result<Code, CliError> {
    let which = match (asked.event, asked.since) {
        (Some(id), _) => Which::One { id },
        (None, Some(since)) => {
            Which::Range { after: since.0, before: asked.until.map(|moment| moment.0), kind: asked.kind }
        }
        (None, None) => Which::Dead,
    };
    let scope = Scope { which, destination: asked.to };
    let again: Again = give(config, "resend", &scope).await?;
    out.answer(&again, |again| match again.deliveries {
        0 => "nothing to deliver again".to_owned(),
        1 => "1 delivery is made again; agent stripe tail shows how it goes".to_owned(),
        count => format!("{count} deliveries are made again; agent stripe tail shows how they go"),
    })?;
    Ok(Code::Good)
}

pub(super) async fn discard(config: &Config, asked: args::Discard, out: &Out) -> Result<Code, CliError> {
    let which = asked.event.map_or(Which::Dead, |id| Which::One { id });
    let scope = Scope { which, destination: asked.to };
    let discarded: Discarded = give(config, "discard", &scope).await?;
    out.answer(&discarded, |discarded| match discarded.deliveries {
        0 => "there is nothing to give up".to_owned(),
        1 => "1 delivery is given up".to_owned(),
        count => format!("{count} deliveries are given up"),
    })?;
    Ok(Code::Good)
}

pub(super) async fn rotate(config: &Config, destination: String, out: &Out) -> Result<Code, CliError> {
    let rotated: Rotated = give(config, "rotate", &Rotated { destination }).await?;
    out.answer(&rotated, |rotated| {
        format!(
            "{} has a new secret; deliveries are signed with the old one too for a day",
            rotated.destination
        )
    })?;
    Ok(Code::Good)
}

pub(super) async fn trigger(config: &Config, asked: args::Trigger, out: &Out) -> Result<Code, CliError> {
    let simulation = Simulation {
        endpoint: asked.endpoint,
        kind: asked.kind.unwrap_or_default(),
        thin: asked.thin,
        set: asked.set,
        body: asked.body.as_deref().map(read).transpose()?,
        account: asked.account,
        age: asked.age,
        times: asked.times,
        bad_signature: asked.bad_sig,
    };
    if asked.dry_run {
        let text = simulation.text(Utc::now().timestamp_millis(), false);
        let text = text.map_err(|error| CliError::Usage { message: error.to_string(), hint: None })?;
        let event: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        out.answer(&event, |_| text)?;
        return Ok(Code::Good);
    }
    let simulated: Vec<Simulated> = give(config, "simulate", &simulation).await?;
    out.answer(&simulated, |simulated| simulated.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    let good = simulated.iter().all(|one| (200..300).contains(&one.status));
    Ok(if good { Code::Good } else { Code::Failed })
}

fn line(one: &Simulated) -> String {
    format!("{} [{}] {} {}", one.kind, one.id, one.status, one.said)
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::Usage {
        message: format!("{} cannot be read: {error}", path.display()),
        hint: None,
    })
}
