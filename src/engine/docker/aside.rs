//! A command run to its end beside the stack, in a throw-away container made from a template: the same image,
//! environment and mounts, but no network, no port, and no label that makes it an instance.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures_util::stream::StreamExt;

use super::{Docker, host, labels};
use crate::engine::{EngineError, Finished};
use crate::model::instance::Template;

/// A configuration test takes a tenth of a second; one that takes this long never ends.
const BOUND: Duration = Duration::from_secs(30);
/// Older ones were left by an agent that died, or by a caller that gave up.
const LEFT_AFTER_SECONDS: i64 = 120;
const LINES: usize = 1000;

impl Docker {
    pub(super) async fn run_to_end(
        &self,
        template: &Template,
        stack: &str,
        command: &[&str],
    ) -> Result<Finished, EngineError> {
        self.sweep(stack).await?;
        let act = || format!("run `{}` aside", command.join(" "));
        let (image, _) = self.resolve_image(&template.image).await?;
        let body = body(template, stack, image, command);
        let created = self.client.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.map_err(|error| self.fault(act(), error))?.id;

        let finished = match tokio::time::timeout(BOUND, self.to_end(&id)).await {
            Ok(result) => result.map_err(|error| self.fault(act(), error)),
            Err(_) => Err(EngineError::TimedOut { act: act(), seconds: BOUND.as_secs() }),
        };
        let output = self.last_logs(&id, LINES).await;
        self.remove_container(&id, true).await?;
        Ok(Finished { code: finished?, output: output? })
    }

    async fn to_end(&self, id: &str) -> Result<i64, Error> {
        self.client.start_container(id, None::<StartContainerOptions>).await?;
        match self.client.wait_container(id, None::<WaitContainerOptions>).next().await {
            Some(Ok(end)) => Ok(end.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(error),
            None => Err(Error::DockerStreamError { error: "the engine stopped waiting for it".to_owned() }),
        }
    }

    async fn sweep(&self, stack: &str) -> Result<(), EngineError> {
        let filter = [("label", vec![format!("{}={stack}", labels::ASIDE)])].into();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let listed = self.client.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.fault("list what was run aside", error))?;
        let now = chrono::Utc::now().timestamp();
        for container in listed {
            let left = container.created.is_some_and(|created| now - created > LEFT_AFTER_SECONDS);
            if let Some(id) = container.id.filter(|_| left) {
                self.remove_container(&id, true).await?;
            }
        }
        Ok(())
    }
}

fn body(template: &Template, stack: &str, image: String, command: &[&str]) -> ContainerCreateBody {
    let variables = template.environment.iter().map(|(key, value)| format!("{key}={value}"));
    ContainerCreateBody {
        image: Some(image),
        // The image's own entrypoint might do more than run the command.
        entrypoint: Some(command.iter().map(|&word| word.to_owned()).collect()),
        cmd: Some(Vec::new()),
        env: Some(variables.collect()),
        user: template.user.clone(),
        working_dir: template.working_dir.clone(),
        labels: Some([(labels::ASIDE.to_owned(), stack.to_owned())].into()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            extra_hosts: host::some(&template.extra_hosts),
            // The engine's default may be a driver whose logs cannot be read back.
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None }),
            ..host::mounts(&template.mounts)
        }),
        ..Default::default()
    }
}
