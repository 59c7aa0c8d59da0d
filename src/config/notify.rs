//! Who is told what happens. What each key means is told in the shipped `agent.toml`.

use serde::{Deserialize, Serialize};

use super::secret::SecretFile;
use super::text::or_empty;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    #[serde(with = "or_empty")]
    pub link: Option<String>,
    pub github: NotifyGithub,
    pub slack: NotifyChat,
    pub discord: NotifyChat,
    pub webhook: NotifyWebhook,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyGithub {
    pub statuses: bool,
    pub deployments: bool,
    pub environment: String,
}

impl Default for NotifyGithub {
    fn default() -> Self {
        Self { statuses: false, deployments: false, environment: "production".to_owned() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyChat {
    /// None: nobody is told there.
    #[serde(with = "or_empty")]
    pub url_file: Option<SecretFile>,
    pub all: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyWebhook {
    /// None: nobody is told there.
    #[serde(with = "or_empty")]
    pub url: Option<String>,
    #[serde(with = "or_empty")]
    pub secret_file: Option<SecretFile>,
}

impl Notify {
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &SecretFile)> {
        let all = [
            ("notify.slack.url_file", &self.slack.url_file),
            ("notify.discord.url_file", &self.discord.url_file),
            ("notify.webhook.secret_file", &self.webhook.secret_file),
        ];
        all.into_iter().filter_map(|(key, secret)| Some((key, secret.as_ref()?)))
    }

    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut SecretFile> {
        [&mut self.slack.url_file, &mut self.discord.url_file, &mut self.webhook.secret_file]
            .into_iter()
            .flatten()
    }
}
