//! The push webhooks: a table for each forge, all of one shape, and what follows from the remote's address.

use serde::{Deserialize, Serialize};

use super::secret::SecretFile;
use super::text::or_empty;
use super::{Config, Webhook, remote};
use crate::model::forge::Forge;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForgeHook {
    /// Empty: this forge's webhooks are not accepted.
    pub secret_files: Vec<SecretFile>,
    /// See [`Config::repository`] for the default.
    #[serde(with = "or_empty")]
    pub repository: Option<String>,
}

/// The full names of a table's keys.
pub(super) struct Keys {
    pub(super) secret_files: &'static str,
    pub(super) repository: &'static str,
}

pub(super) fn keys(forge: Forge) -> Keys {
    let (secret_files, repository) = match forge {
        Forge::GitHub => ("webhook.github.secret_files", "webhook.github.repository"),
        Forge::GitLab => ("webhook.gitlab.secret_files", "webhook.gitlab.repository"),
        Forge::Gitea => ("webhook.gitea.secret_files", "webhook.gitea.repository"),
        Forge::Forgejo => ("webhook.forgejo.secret_files", "webhook.forgejo.repository"),
        Forge::Bitbucket => ("webhook.bitbucket.secret_files", "webhook.bitbucket.repository"),
    };
    Keys { secret_files, repository }
}

impl Webhook {
    pub fn forge(&self, forge: Forge) -> &ForgeHook {
        match forge {
            Forge::GitHub => &self.github,
            Forge::GitLab => &self.gitlab,
            Forge::Gitea => &self.gitea,
            Forge::Forgejo => &self.forgejo,
            Forge::Bitbucket => &self.bitbucket,
        }
    }

    pub(super) fn forges_mut(&mut self) -> [&mut ForgeHook; 5] {
        [&mut self.github, &mut self.gitlab, &mut self.gitea, &mut self.forgejo, &mut self.bitbucket]
    }

    /// The forges whose webhooks are accepted.
    pub fn accepted(&self) -> impl Iterator<Item = (Forge, &ForgeHook)> {
        let all = Forge::ALL.into_iter().map(|forge| (forge, self.forge(forge)));
        all.filter(|(_, hook)| !hook.secret_files.is_empty())
    }
}

impl Config {
    /// The repository whose push webhooks count, as `forge` names it: as configured, else taken from the remote's
    /// address.
    pub fn repository(&self, forge: Forge) -> Option<String> {
        let configured = self.webhook.forge(forge).repository.clone();
        configured.or_else(|| remote::repository(&self.source.url, forge))
    }
}
