//! What `docker login` left in `config.json`: names and passwords by registry. Credential helpers (programs
//! that keep them elsewhere) are not asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// Docker Hub's name in `config.json`.
const HUB: &str = "https://index.docker.io/v1/";

#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not the JSON that `docker login` writes", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("the entry for {registry} in {} is damaged: `docker login {registry}` again", path.display())]
    Entry { path: PathBuf, registry: String },
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// Where `docker` itself looks.
pub(super) fn default_folder() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home)
}

/// By registry, as `config.json` spells it. No file: none. It is read anew each time: people sign in while
/// the agent runs.
pub(super) fn read(folder: Option<&Path>) -> Result<HashMap<String, DockerCredentials>, CredentialsError> {
    let Some(folder) = folder else { return Ok(HashMap::new()) };
    let path = folder.join("config.json");
    match std::fs::read(&path) {
        Ok(text) => parse(&text, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(source) => Err(CredentialsError::Read { path, source }),
    }
}

fn parse(text: &[u8], path: PathBuf) -> Result<HashMap<String, DockerCredentials>, CredentialsError> {
    let file: ConfigFile = match serde_json::from_slice(text) {
        Ok(file) => file,
        Err(source) => return Err(CredentialsError::Json { path, source }),
    };
    let mut found = HashMap::new();
    // An entry without `auth` is kept by a helper.
    for (registry, entry) in file.auths.into_iter().filter(|(_, entry)| !entry.auth.is_empty()) {
        let decoded = BASE64_STANDARD.decode(&entry.auth).ok().and_then(|text| String::from_utf8(text).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Err(CredentialsError::Entry { path, registry });
        };
        let credentials = DockerCredentials {
            username: Some(name.to_owned()),
            password: Some(password.trim_end_matches('\0').to_owned()),
            serveraddress: Some(registry.clone()),
            identitytoken: entry.identitytoken,
            ..Default::default()
        };
        found.insert(registry, credentials);
    }
    Ok(found)
}

/// The registry of an image's name, as `config.json` spells it: the part before the first slash, if it looks
/// like a host.
pub(super) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "docker.io" | "index.docker.io" => HUB,
            host => host,
        },
        _ => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_read_by_registry() {
        let text = br#"{"auths":{"r.example:5000":{"auth":"YW5uOnM6M2NyZXQ="},"helped.example":{}},"credsStore":"x"}"#;
        let found = parse(text, "config.json".into()).unwrap();
        assert_eq!(found.len(), 1);
        let ann = &found["r.example:5000"];
        assert_eq!((ann.username.as_deref(), ann.password.as_deref()), (Some("ann"), Some("s:3cret")));
    }

    #[test]
    fn a_damaged_entry_says_how_to_mend_it_and_not_what_it_holds() {
        let error =
            parse(br#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#, "config.json".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the entry for r.example in config.json is damaged: `docker login r.example` again"
        );
    }

    #[test]
    fn the_registry_is_the_part_that_looks_like_a_host() {
        for hub in ["nginx", "library/nginx", "docker.io/a/b", "ann/app:1"] {
            assert_eq!(registry(hub), HUB, "{hub}");
        }
        assert_eq!(registry("r.example:5000/a/b:1"), "r.example:5000");
        assert_eq!(registry("localhost/a"), "localhost");
        assert_eq!(registry("ghcr.io/a/b@sha256:00"), "ghcr.io");
    }
}
