//! The rules for what a revision must pass, and for reaching GitHub's API.

use super::super::Config;
use super::Refusals;
use crate::model::forge::Forge;
use crate::model::freeze::{Freeze, NotAFreeze};

pub(super) fn outside(config: &Config, out: &mut Refusals) {
    let gates = &config.gates;
    for text in &gates.skip {
        let hint = "write what is looked for in the message: \"[skip deploy]\"";
        out.unless(!text.trim().is_empty(), "gates.skip", "an empty text is in every message", hint);
    }
    for text in &gates.freeze {
        let Err(error) = Freeze::parse(text) else { continue };
        let hint = match error {
            NotAFreeze::Form => {
                "write \"FRI 16:00 - MON 08:00\", \"22:00 - 06:00\" or \"2026-12-23 12:00 - 2027-01-02 08:00\", in UTC"
            }
            NotAFreeze::Empty => "for all of the time turn to `agent pause`",
            NotAFreeze::Backwards => "write the beginning first",
        };
        out.unless(false, "gates.freeze", format!("`{text}`: {error}"), hint);
    }
    let named = gates.required_checks.iter().all(|name| !name.trim().is_empty());
    let hint = "write each name as GitHub shows it beside a commit";
    out.unless(named, "gates.required_checks", "a check has no name", hint);
    let known = gates.required_checks.is_empty() || config.repository(Forge::GitHub).is_some();
    let hint = "name it with webhook.github.repository = \"owner/name\"";
    out.unless(known, "gates.required_checks", "the repository's name cannot be told from source.url", hint);
    address(&config.github.api_url, "github.api_url", "https://api.github.com", out);
    notify(config, out);
}

fn notify(config: &Config, out: &mut Refusals) {
    let notify = &config.notify;
    let link = notify.link.as_deref().unwrap_or("https://host");
    address(link, "notify.link", "https://agent.example.com", out);
    let github = &notify.github;
    for (key, on) in
        [("notify.github.statuses", github.statuses), ("notify.github.deployments", github.deployments)]
    {
        let token = config.github.token_file.is_some();
        out.unless(!on || token, key, "GitHub takes nothing without a token", "set github.token_file");
        let known = config.repository(Forge::GitHub).is_some();
        let hint = "name it with webhook.github.repository = \"owner/name\"";
        out.unless(!on || known, key, "the repository's name cannot be told from source.url", hint);
    }
    let environment = github.environment.trim();
    let hint = "write its name as GitHub shows it: \"production\"";
    out.unless(!environment.is_empty(), "notify.github.environment", "it has no name", hint);
    let webhook = &notify.webhook;
    let url = webhook.url.as_deref().unwrap_or("https://host");
    let sound = address(url, "notify.webhook.url", "https://example.com/hook", out);
    // One complaint is enough about an address that is none.
    let both = !sound || webhook.url.is_some() == webhook.secret_file.is_some();
    let hint = "set both notify.webhook.url and notify.webhook.secret_file, or neither";
    out.unless(both, "notify.webhook.secret_file", "a webhook needs an address and a secret", hint);
}

/// Something that requests with secrets are sent to; whether it is.
fn address(text: &str, key: &'static str, example: &str, out: &mut Refusals) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fine = rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && !text.ends_with('/') && !text.contains(char::is_whitespace)
    });
    let hint = format!("write it like \"{example}\": without a user, without a slash at the end");
    out.unless(fine, key, "this is not an address to send to", hint);
    fine
}
