//! What `agent init` writes: secrets first, the configuration last, each whole and readable by its owner alone.
//!
//! The configuration's presence means that everything it names is there: an interrupted `init` is simply run again.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::answers::{Answers, SignIn};
use super::keys;
use crate::cli::error::CliError;
use crate::config::Config;

/// What was written, for telling it.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) env_file: PathBuf,
    /// Only where a forge will use it.
    pub(super) webhook_secret: Option<PathBuf>,
    /// The public half of the deploy key, as a line.
    pub(super) public_key: Option<String>,
    pub(super) host_keys: Vec<String>,
    /// The host was asked for its keys; nobody has compared them yet.
    pub(super) host_keys_scanned: bool,
}

pub(super) fn write(path: &Path, answers: &Answers) -> Result<Made, CliError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut made = Made { env_file: folder.join(format!("{}.env", answers.name)), ..Made::default() };
    let variables = format!(
        "# Variables for ${{NAME}} in the compose files of {}, one NAME=value a line: ports, passwords, API keys.\n",
        answers.name
    );
    whole(&made.env_file, variables.as_bytes())?;
    if let Some(forge) = answers.forge {
        let secret = folder.join(format!("{}-webhook", forge.name()));
        whole(&secret, format!("{}\n", random()?).as_bytes())?;
        made.webhook_secret = Some(secret);
    }
    if let SignIn::DeployKey(given) = &answers.sign_in {
        let key = folder.join("deploy-key");
        keys::deploy_key(&key, &format!("agent {}", answers.name))?;
        made.public_key = Some(fs::read_to_string(key.with_extension("pub"))?.trim().to_owned());
        made.host_keys_scanned = given.is_empty();
        made.host_keys = if given.is_empty() { keys::shown_by(&answers.url)? } else { given.clone() };
    }
    let text = configuration(folder, answers, &made);
    // An answer that cannot be used is shown where it would stand, and not written.
    Config::parse(path, &text)?;
    whole(path, text.as_bytes())?;
    Ok(made)
}

/// Only what differs from the defaults: everything else is told by the sample.
fn configuration(folder: &Path, answers: &Answers, made: &Made) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let at = |path: &Path| quoted(&path.display().to_string());
    let mut text =
        "# Written by `agent init`. Every key, its default and its meaning are in the sample agent.toml, which the Debian\n\
         # package has put into /usr/share/doc/agent/examples.\n"
            .to_owned();
    if let Some(state) = &answers.state {
        text += &format!("state = {}\n", at(state));
    }
    text += &format!(
        "\n[stack]\nname = {}\ncompose = [{}]\nenv_file = {}\n\n[source]\nurl = {}\nbranch = {}\n",
        quoted(&answers.name),
        quoted(&answers.compose),
        at(&made.env_file),
        quoted(&answers.url),
        quoted(&answers.branch),
    );
    match &answers.sign_in {
        SignIn::Nobody => {}
        SignIn::Token(file) => text += &format!("token_file = {}\n", at(file)),
        SignIn::DeployKey(_) => {
            let keys: Vec<String> = made.host_keys.iter().map(|key| quoted(key)).collect();
            let key = at(&folder.join("deploy-key"));
            text += &format!("ssh_key_file = {key}\nssh_host_keys = [{}]\n", keys.join(", "));
        }
    }
    text += &format!("\n[webhook]\nlisten = {}\n", quoted(&answers.listen.to_string()));
    text.extend(answers.publish.iter().map(|path| format!("publish = {}\n", quoted(path))));
    if let (Some(forge), Some(secret)) = (answers.forge, &made.webhook_secret) {
        text += &format!("\n[webhook.{}]\nsecret_files = [{}]\n", forge.name(), at(secret));
        text.extend(answers.repository.iter().map(|name| format!("repository = {}\n", quoted(name))));
    }
    text
}

/// Whole or absent, mode 0600; what is there already is kept.
fn whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    let aside = path.with_extension("new");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(&aside, path)?)
}

/// 256 bits, as text.
fn random() -> Result<String, CliError> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}
