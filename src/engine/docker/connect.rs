//! Finding the engine and learning which API it speaks.

use std::path::PathBuf;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;

use super::fault::away;
use super::{Docker, credentials};
use crate::engine::{EngineError, EngineFacts};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How long the engine may take to answer what it should answer at once. Long work asks for more.
pub(super) const PATIENCE_SECONDS: u64 = 120;
/// Engine 20.10.
const OLDEST_API: (usize, usize) = (1, 41);

impl Docker {
    /// `socket` is a path or `unix://PATH`; without it `DOCKER_HOST` decides, then Docker's own default.
    pub async fn connect(socket: Option<&str>) -> Result<Self, EngineError> {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let at = socket.map(str::to_owned).or(host).unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
        let path = socket_path(&at)?;
        let client = bollard::Docker::connect_with_unix(path, PATIENCE_SECONDS, API_DEFAULT_VERSION);
        let client = client.map_err(|error| away(&at, &error))?;
        let client = client.negotiate_version().await.map_err(|error| away(&at, &error))?;
        let version = client.client_version();
        let api = (version.major_version, version.minor_version);
        let docker = Self { client, at, api, login: credentials::default_folder() };
        if docker.api < OLDEST_API {
            return Err(EngineError::Refused {
                act: "serve the agent".to_owned(),
                message: format!(
                    "it speaks API {}; Engine 20.10 (API 1.41) or newer is needed",
                    docker.spoken()
                ),
            });
        }
        Ok(docker)
    }

    /// Registries are signed in to with what `docker login` left in this folder, rather than in
    /// `$DOCKER_CONFIG` or `~/.docker`.
    pub fn with_login(self, folder: PathBuf) -> Self {
        Self { login: Some(folder), ..self }
    }

    pub(super) async fn read_facts(&self) -> Result<EngineFacts, EngineError> {
        let info = self.client.info().await.map_err(|error| self.fault("describe itself", error))?;
        Ok(EngineFacts {
            version: info.server_version.unwrap_or_default(),
            api_version: self.spoken(),
            root: info.docker_root_dir.unwrap_or_default(),
        })
    }

    /// For calls that rightly take long: the client's patience covers the wait for an answer's first byte.
    pub(super) fn patient(&self, extra: Duration) -> bollard::Docker {
        self.client.clone().with_timeout(Duration::from_secs(PATIENCE_SECONDS).saturating_add(extra))
    }

    fn spoken(&self) -> String {
        format!("{}.{}", self.api.0, self.api.1)
    }
}

pub(super) fn socket_path(at: &str) -> Result<&str, EngineError> {
    match at.split_once("://") {
        None => Ok(at),
        Some(("unix", path)) => Ok(path),
        Some((scheme, _)) => Err(EngineError::Refused {
            act: format!("be reached at {at}"),
            message: format!("`{scheme}://` is not supported: give the path of the engine's Unix socket"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::class::Class;

    #[test]
    fn a_socket_is_a_path_with_or_without_scheme() {
        assert_eq!(socket_path("/run/docker.sock").unwrap(), "/run/docker.sock");
        assert_eq!(socket_path("unix:///run/docker.sock").unwrap(), "/run/docker.sock");
        let refused = socket_path("tcp://10.0.0.1:2375").unwrap_err().to_string();
        assert!(refused.contains("tcp://10.0.0.1:2375") && refused.contains("Unix socket"), "{refused}");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_unreachable_and_waited_for() {
        let Err(error) = Docker::connect(Some("/nonexistent/agenttest.sock")).await else {
            panic!("connected")
        };
        assert_eq!(error.to_string(), "the engine does not answer at /nonexistent/agenttest.sock");
        assert_eq!(error.class(), Class::Waiting);
    }

    #[tokio::test]
    async fn a_socket_nobody_serves_is_unreachable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let Err(error) = Docker::connect(path.to_str()).await else { panic!("connected") };
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    }
}
