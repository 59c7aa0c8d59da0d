//! `agent.toml`: typed, with its defaults, and checked as a whole before anything starts.
//!
//! All that is wrong with a file is said at once, each problem with its line and a way to mend it. No secret is
//! read here, only where it lies. The one thing taken from the environment is which file to read.

mod check;
mod forges;
mod listen;
mod mask;
mod notify;
mod outside;
mod problem;
mod read;
mod remote;
mod secret;
mod sections;
mod stripe;
mod text;
mod warn;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use forges::ForgeHook;
pub use listen::{Listen, overlap};
pub use notify::{Notify, NotifyChat, NotifyGithub, NotifyWebhook};
pub use outside::{Gates, Github, Metrics};
pub use problem::{ConfigError, Problem};
pub use remote::{Transport, transport};
pub use secret::{SecretError, SecretFile};
pub use sections::{
    Build, Dashboard, Drift, Engine, EngineKind, History, Log, LogFormat, LogLevel, Mode, Nginx, Policy,
    Poll, Prune, Roll, Source, Stack, Webhook,
};
pub use stripe::{Stripe, StripeEndpoint, StripeMode};
pub use text::{Size, parse_duration};
pub use warn::Warning;

/// Names the file to read, where the command line does not.
pub const VARIABLE: &str = "AGENT_CONFIG";
const PLACES: [&str; 2] = ["/etc/agent/agent.toml", "agent.toml"];

/// The whole file. `Default` is what an empty file would mean: the required keys are empty in it, which
/// [`Config::load`] refuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub state: PathBuf,
    pub stack: Stack,
    pub source: Source,
    pub poll: Poll,
    pub webhook: Webhook,
    pub stripe: Stripe,
    pub dashboard: Dashboard,
    pub gates: Gates,
    pub github: Github,
    pub notify: Notify,
    pub metrics: Metrics,
    pub engine: Engine,
    pub build: Build,
    pub roll: Roll,
    pub drift: Drift,
    pub nginx: Nginx,
    pub history: History,
    pub log: Log,
    pub policy: Policy,
    pub prune: Prune,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/agent"),
            stack: Stack::default(),
            source: Source::default(),
            poll: Poll::default(),
            webhook: Webhook::default(),
            stripe: Stripe::default(),
            dashboard: Dashboard::default(),
            gates: Gates::default(),
            github: Github::default(),
            notify: Notify::default(),
            metrics: Metrics::default(),
            engine: Engine::default(),
            build: Build::default(),
            roll: Roll::default(),
            drift: Drift::default(),
            nginx: Nginx::default(),
            history: History::default(),
            log: Log::default(),
            policy: Policy::default(),
            prune: Prune::default(),
        }
    }
}

impl Config {
    /// Which file to read: the one given on the command line, else the one `AGENT_CONFIG` names, else the first
    /// that exists of `/etc/agent/agent.toml` and `./agent.toml`.
    pub fn locate(given: Option<&Path>) -> Result<PathBuf, ConfigError> {
        choose(given, std::env::var_os(VARIABLE), &PLACES.map(PathBuf::from))
    }

    /// Reads and checks a file. Relative paths in it come back relative to the file's own folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::of(path, &Self::text(path)?)
    }

    pub fn text(path: &Path) -> Result<String, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        std::fs::read_to_string(path).map_err(unreadable)
    }

    /// Checks the text of a file, as [`Config::load`] does.
    pub fn of(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::parse(path, text)?;
        // Absolute, so that it does not matter from where the service manager starts the agent.
        let folder = std::path::absolute(path);
        let folder = folder.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        config.anchor(folder.parent().unwrap_or(Path::new("/")));
        Ok(config)
    }

    /// Checks a text; `path` is only for messages, and paths in the text stay as written.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let (config, findings) = read::read(text);
        if findings.is_empty() { Ok(config) } else { Err(ConfigError::invalid(path, text, findings)) }
    }

    /// What is allowed but should be known: secrets open to everybody, a remote that is not private.
    /// Looks at the files as they are now.
    pub fn warnings(&self) -> Vec<Warning> {
        warn::warnings(self)
    }

    /// The folder that nginx's configuration is written into.
    pub fn nginx_folder(&self) -> PathBuf {
        self.nginx.folder.clone().unwrap_or_else(|| self.state.join("nginx"))
    }

    /// Every secret in use, with the name of its key.
    pub fn secrets(&self) -> impl Iterator<Item = (Cow<'static, str>, &SecretFile)> {
        let single = [
            ("stack.env_file", &self.stack.env_file),
            ("source.token_file", &self.source.token_file),
            ("source.ssh_key_file", &self.source.ssh_key_file),
            ("dashboard.token_file", &self.dashboard.token_file),
            ("github.token_file", &self.github.token_file),
        ];
        let single = single.into_iter().filter_map(|(key, secret)| Some((key.into(), secret.as_ref()?)));
        let hooks = self.webhook.accepted().flat_map(|(forge, hook)| {
            hook.secret_files.iter().map(move |file| (forges::keys(forge).secret_files.into(), file))
        });
        let endpoints = self.stripe.endpoints.iter().flat_map(|(name, endpoint)| {
            let key = move || Cow::from(format!("stripe.endpoints.{name}.secret_files"));
            endpoint.secret_files.iter().map(move |file| (key(), file))
        });
        let told = self.notify.secrets().map(|(key, file)| (key.into(), file));
        single.chain(hooks).chain(endpoints).chain(told)
    }

    fn anchor(&mut self, folder: &Path) {
        let paths = [
            Some(&mut self.state),
            self.source.ssh_known_hosts.as_mut(),
            self.source.ca_file.as_mut(),
            self.nginx.folder.as_mut(),
            self.nginx.template.as_mut(),
            self.gates.signed_by.as_mut(),
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        let single = [
            &mut self.stack.env_file,
            &mut self.source.token_file,
            &mut self.source.ssh_key_file,
            &mut self.dashboard.token_file,
            &mut self.github.token_file,
        ];
        let hooks = self.webhook.forges_mut().into_iter().flat_map(|hook| &mut hook.secret_files);
        let endpoints = self.stripe.endpoints.values_mut().flat_map(|endpoint| &mut endpoint.secret_files);
        let told = self.notify.secrets_mut();
        for secret in single.into_iter().flatten().chain(hooks).chain(endpoints).chain(told) {
            secret.anchor(folder);
        }
    }
}

fn choose(
    given: Option<&Path>,
    variable: Option<OsString>,
    places: &[PathBuf],
) -> Result<PathBuf, ConfigError> {
    let named = given.map(Path::to_owned).or(variable.filter(|text| !text.is_empty()).map(PathBuf::from));
    match named.or_else(|| places.iter().find(|place| place.exists()).cloned()) {
        Some(path) => Ok(path),
        None => Err(ConfigError::NotFound { tried: places.to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_variable_and_that_over_the_places() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let places = [first.clone(), second.clone()];
        let chosen = |given: Option<&str>, variable: Option<&str>| {
            choose(given.map(Path::new), variable.map(OsString::from), &places).ok()
        };
        assert_eq!(chosen(None, None), None);
        std::fs::write(&second, "").unwrap();
        assert_eq!(chosen(None, Some("")), Some(second));
        std::fs::write(&first, "").unwrap();
        assert_eq!(chosen(None, None), Some(first));
        assert_eq!(chosen(None, Some("/v")), Some("/v".into()));
        assert_eq!(chosen(Some("/g"), Some("/v")), Some("/g".into()));
    }
}
