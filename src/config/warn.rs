//! What is allowed but should be known to whoever runs the agent. Looks at the files as they are now, so that
//! `agent check` tells what the next turn would meet; decides nothing.

use std::borrow::Cow;
use std::path::PathBuf;

use super::Config;
use super::remote::{Transport, is_loopback, transport};

/// Something that runs but should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub key: Cow<'static, str>,
    pub message: String,
    pub hint: String,
}

pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut out = Vec::new();
    for (key, secret) in config.secrets() {
        let warning = match secret.exposed() {
            Ok(None) => continue,
            Ok(Some(mode)) => {
                let path = secret.path().unwrap_or_else(|_| PathBuf::from(secret.to_string()));
                let path = path.display();
                let message = format!("every user of this machine can get at {path} (mode {mode:04o})");
                Warning { key, message, hint: format!("chmod 600 {path}") }
            }
            Err(error) => Warning { key, message: error.to_string(), hint: error.hint() },
        };
        out.push(warning);
    }
    if transport(&config.source.url) == Some(Transport::Http) && !is_loopback(&config.source.url) {
        let message = "whoever is on the way can read the token and change what is deployed".to_owned();
        out.push(Warning { key: "source.url".into(), message, hint: "use https:// or ssh://".to_owned() });
    }
    if let Some(at) = config.dashboard.listen.filter(|at| !at.ip().is_loopback()) {
        let message = format!("the token and the sessions of {at} travel without encryption");
        let hint = "listen on 127.0.0.1, and reach it through ssh or a proxy that ends TLS".to_owned();
        out.push(Warning { key: "dashboard.listen".into(), message, hint });
    }
    if let Some(published) = config.dashboard.publish.as_ref().filter(|published| published.host.is_none()) {
        let message =
            "a page of an app on the same host can do whatever a person who is signed in can".to_owned();
        let hint =
            format!("publish it on a host of its own, such as \"agent.example.com/\", not at {published}");
        out.push(Warning { key: "dashboard.publish".into(), message, hint });
    }
    let heard = config.webhook.listen.is_some() || config.webhook.publish.is_some();
    let pushes = heard && config.webhook.accepted().next().is_some();
    if config.webhook.publish.is_some() && !config.hears() {
        let message = "nothing is published: no webhook has a secret".to_owned();
        let hint =
            "name one in `secret_files` under [webhook.github] or [stripe.endpoints.default]".to_owned();
        out.push(Warning { key: "webhook.publish".into(), message, hint });
    }
    if config.poll.schedule().is_none() && !pushes {
        let message = "neither a poll nor a webhook will ever wake the agent".to_owned();
        out.push(Warning { key: "poll.schedule".into(), message, hint: "turn one of them on".to_owned() });
    }
    out
}
