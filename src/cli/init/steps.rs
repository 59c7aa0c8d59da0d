//! What only a person can do: hand the public key and the webhook to the forge. With the very addresses and values.

use std::path::Path;

use owo_colors::OwoColorize;

use super::answers::{Answers, host_of};
use super::files::Made;
use crate::model::forge::Forge;

pub(super) fn text(path: &Path, answers: &Answers, made: &Made) -> String {
    let mut lines = vec![format!("wrote {}", path.display().bold())];
    lines.push(format!("      {}  (what the repository must not hold)", made.env_file.display()));
    lines.extend(made.webhook_secret.iter().map(|secret| format!("      {}", secret.display())));
    if let Some(key) = &made.public_key {
        lines.push(String::new());
        lines.extend(deploy_key(answers, key));
    }
    if made.host_keys_scanned {
        lines.push(String::new());
        lines.extend(host_keys(answers, made));
    }
    if let (Some(forge), Some(secret)) = (answers.forge, &made.webhook_secret) {
        lines.push(String::new());
        lines.extend(webhook(answers, forge, secret));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn deploy_key(answers: &Answers, key: &str) -> Vec<String> {
    let place = settings(answers, Place::Keys)
        .map_or_else(|| "in the repository's settings".into(), |at| format!("at {at}"));
    vec![format!("{} add this deploy key {place}; reading is enough:", "→".bold()), format!("  {key}")]
}

fn host_keys(answers: &Answers, made: &Made) -> Vec<String> {
    let host = host_of(&answers.url).unwrap_or_default();
    let mut lines = vec![format!(
        "{} compare these with the host keys that {host} publishes; nobody has yet:",
        "→".bold()
    )];
    lines.extend(made.host_keys.iter().map(|key| format!("  {key}")));
    lines
}

fn webhook(answers: &Answers, forge: Forge, secret: &Path) -> Vec<String> {
    let place = settings(answers, Place::Hooks)
        .map_or_else(|| "in the repository's settings".into(), |at| format!("at {at}"));
    let mut lines = vec![
        format!("{} add a webhook {place}:", "→".bold()),
        format!("  URL           {}", address(answers, forge)),
    ];
    if forge != Forge::GitLab && forge != Forge::Bitbucket {
        lines.push("  Content type  application/json".into());
    }
    lines.push(format!("  Secret        the line in {}", secret.display()));
    lines.push("  Events        pushes only".into());
    lines.push("  Without it the branch is looked at every minute.".into());
    lines
}

/// Where the forge is to send it. Only the stack's nginx is known to us; what else stands in front is not.
fn address(answers: &Answers, forge: Forge) -> String {
    let Some(path) = &answers.publish else {
        let at = answers.listen;
        return format!(
            "https://YOUR-HOST/webhooks/{}  (what answers there passes it on to {at})",
            forge.name()
        );
    };
    let host = if path.starts_with(['/', ':']) { "YOUR-HOST" } else { "" };
    format!("http://{host}{path}{}", forge.name())
}

enum Place {
    Keys,
    Hooks,
}

/// The page of the forge where it is done.
fn settings(answers: &Answers, place: Place) -> Option<String> {
    let forge = answers.forge?;
    let host = host_of(&answers.url)?;
    let path = match answers.url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => answers.url.split_once(':')?.1,
    };
    let repository = path.trim_matches('/').trim_end_matches(".git");
    let page = match (forge, place) {
        (Forge::GitHub, Place::Keys) => "settings/keys/new",
        (Forge::GitHub, Place::Hooks) => "settings/hooks/new",
        (Forge::GitLab, Place::Keys) => "-/settings/repository",
        (Forge::GitLab, Place::Hooks) => "-/hooks",
        (Forge::Gitea | Forge::Forgejo, Place::Keys) => "settings/keys",
        (Forge::Gitea | Forge::Forgejo, Place::Hooks) => "settings/hooks",
        (Forge::Bitbucket, Place::Keys) => "admin/access-keys/",
        (Forge::Bitbucket, Place::Hooks) => "admin/webhooks",
    };
    Some(format!("https://{host}/{repository}/{page}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::answers::SignIn;

    #[test]
    fn each_forge_has_its_own_pages() {
        let pages = |url: &str, forge| {
            let answers = Answers {
                url: url.to_owned(),
                branch: "main".into(),
                name: "shop".into(),
                compose: "compose.yaml".into(),
                state: None,
                sign_in: SignIn::Nobody,
                forge: Some(forge),
                repository: None,
                listen: ([127, 0, 0, 1], 9090).into(),
                publish: None,
            };
            [Place::Keys, Place::Hooks].map(|place| settings(&answers, place).unwrap())
        };
        let [keys, hooks] = pages("git@github.com:you/shop.git", Forge::GitHub);
        assert_eq!(keys, "https://github.com/you/shop/settings/keys/new");
        assert_eq!(hooks, "https://github.com/you/shop/settings/hooks/new");
        let [keys, hooks] = pages("https://gitlab.com/a/b/shop.git", Forge::GitLab);
        assert_eq!(keys, "https://gitlab.com/a/b/shop/-/settings/repository");
        assert_eq!(hooks, "https://gitlab.com/a/b/shop/-/hooks");
    }
}
