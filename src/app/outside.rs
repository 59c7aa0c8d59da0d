//! From configuration to what asks and tells others: GitHub's checks before a run, and who hears of it.

use std::sync::Arc;

use chrono::Utc;
use tokio::sync::watch;

use crate::clearance::{Checks, Clearance, Signers};
use crate::config::{Config, SecretFile};
use crate::engine::Engine;
use crate::http::{Client, ClientError, ReadSecret, Secret};
use crate::model::forge::Forge;
use crate::outbox::{Deployments, Discord, GitHub, Outbox, Slack, Statuses, Target, Webhook};
use crate::reconcile::Reconciler;
use crate::report;
use crate::store::Store;

/// What a revision must pass, as configured.
pub(super) fn clearance(config: &Config) -> Result<Clearance, ClientError> {
    let gates = &config.gates;
    let signers = gates.signed_by.clone().map(|file| Signers::new(file, config.state.join("signatures")));
    let checks = match config.repository(Forge::GitHub).filter(|_| !gates.required_checks.is_empty()) {
        Some(repository) => Some(Checks {
            client: Client::new()?,
            api_url: config.github.api_url.clone(),
            repository,
            token: config.github.token_file.as_ref().map(read),
            required: gates.required_checks.clone(),
        }),
        None => None,
    };
    Ok(Clearance { skip: gates.skip.clone(), signers, freeze: gates.freeze(), checks })
}

/// The wing that tells others, if there is anybody to tell.
pub(super) fn outbox<E: Engine>(
    world: &Reconciler<E>,
    store: Store,
    dead: watch::Receiver<Option<u64>>,
) -> Result<Option<Outbox>, ClientError> {
    let targets = targets(&world.config);
    if targets.is_empty() {
        return Ok(None);
    }
    Ok(Some(Outbox {
        store,
        record: world.record.clone(),
        situation: world.situation.subscribe(),
        dead,
        stack: world.config.stack.name.clone(),
        targets,
        client: Client::new()?,
        clock: Arc::new(|| Utc::now().timestamp_millis()),
    }))
}

fn targets(config: &Config) -> Vec<Target> {
    let notify = &config.notify;
    let mut targets = Vec::new();
    if notify.github.statuses {
        targets.extend(github(config).map(|github| Target::Statuses(Statuses(github))));
    }
    if notify.github.deployments {
        let environment = notify.github.environment.clone();
        let made = github(config).map(|github| Target::Deployments(Deployments { github, environment }));
        targets.extend(made);
    }
    if let Some(file) = &notify.slack.url_file {
        targets.push(Target::Slack(Slack { url: read(file), all: notify.slack.all }));
    }
    if let Some(file) = &notify.discord.url_file {
        targets.push(Target::Discord(Discord { url: read(file), all: notify.discord.all }));
    }
    if let (Some(url), Some(file)) = (&notify.webhook.url, &notify.webhook.secret_file) {
        targets.push(Target::Webhook(Webhook { url: url.clone(), secret: read(file) }));
    }
    targets
}

fn github(config: &Config) -> Option<GitHub> {
    Some(GitHub {
        api_url: config.github.api_url.clone(),
        repository: config.repository(Forge::GitHub)?,
        token: read(config.github.token_file.as_ref()?),
        link: config.notify.link.clone(),
    })
}

fn read(file: &SecretFile) -> ReadSecret {
    let file = file.clone();
    Box::new(move || {
        let text = file.read().map_err(|error| report::line(&error))?;
        Secret::new(text).map_err(|error| error.to_string())
    })
}
