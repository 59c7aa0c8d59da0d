//! Start, stop, signal, remove. What is already so is no error: a crash may have come between act and record.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerUpdateBody};
use bollard::query_parameters::{
    InspectContainerOptions, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};

use super::fault::found;
use super::{Docker, host, labels};
use crate::engine::EngineError;
use crate::model::instance::{InstanceId, RestartSpec};

/// The engine's own, for a container that says none.
const GRACE_SECONDS: i64 = 10;

impl Docker {
    /// One that is frozen is thawed: the agent may have died while it changed its names.
    pub(super) async fn start_instance(&self, id: &InstanceId) -> Result<(), EngineError> {
        let act = || format!("start {}", id.short());
        let Err(error) = self.client.start_container(&id.0, None::<StartContainerOptions>).await else {
            return Ok(());
        };
        if !error.to_string().contains("try unpause") {
            return Err(self.fault(act(), error));
        }
        self.client.unpause_container(&id.0).await.map_err(|error| self.fault(act(), error))
    }

    pub(super) async fn stop_instance(
        &self,
        id: &InstanceId,
        most: Option<Duration>,
    ) -> Result<(), EngineError> {
        let Some(container) = self.own(id, "stop").await? else { return Ok(()) };
        let grace = container.config.and_then(|config| config.stop_timeout).unwrap_or(GRACE_SECONDS);
        let most = most.and_then(|most| i64::try_from(most.as_secs()).ok()).filter(|most| *most < grace);
        let options = most.map(|most| StopContainerOptionsBuilder::default().t(most as i32).build());
        // The answer comes after the grace, which the engine else takes from the container itself.
        let client = self.patient(Duration::from_secs(most.unwrap_or(grace).unsigned_abs()));
        let stopped = found(client.stop_container(&id.0, options).await);
        stopped.map(drop).map_err(|error| self.fault(format!("stop {}", id.short()), error))
    }

    pub(super) async fn set_restart(
        &self,
        id: &InstanceId,
        restart: &RestartSpec,
    ) -> Result<(), EngineError> {
        let act = || format!("set the restart policy of {}", id.short());
        if self.own(id, "set the restart policy of").await?.is_none() {
            return Ok(());
        }
        let update =
            ContainerUpdateBody { restart_policy: Some(host::restart(restart)), ..Default::default() };
        let updated = self.client.update_container(&id.0, update).await;
        updated.map(drop).map_err(|error| self.fault(act(), error))
    }

    pub(super) async fn rename_instance(&self, id: &InstanceId, name: &str) -> Result<(), EngineError> {
        let act = || format!("rename {} to {name}", id.short());
        if self.own(id, "rename").await?.is_none() {
            return Ok(());
        }
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.client.rename_container(&id.0, options).await.map_err(|error| self.fault(act(), error))
    }

    pub(super) async fn remove_instance(&self, id: &InstanceId, volumes: bool) -> Result<(), EngineError> {
        if self.own(id, "remove").await?.is_none() {
            return Ok(());
        }
        self.remove_container(&id.0, volumes).await
    }

    /// Without the check for the agent's label: for what was made under another one. `volumes`: with the anonymous ones
    /// that nobody else has.
    pub(super) async fn remove_container(&self, id: &str, volumes: bool) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        match found(self.client.remove_container(id, Some(options)).await) {
            Ok(_) => Ok(()),
            // Somebody else is removing it.
            Err(Error::DockerResponseServerError { status_code: 409, message })
                if message.contains("already in progress") =>
            {
                Ok(())
            }
            Err(error) => Err(self.fault(format!("remove {id}"), error)),
        }
    }

    /// `None` when it is gone; refused when it is not the agent's: an id may come from an old record.
    async fn own(
        &self,
        id: &InstanceId,
        verb: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let looked = found(self.client.inspect_container(&id.0, None::<InspectContainerOptions>).await);
        let Some(container) = looked.map_err(|error| self.fault(format!("{verb} {}", id.short()), error))?
        else {
            return Ok(None);
        };
        let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels.is_some_and(|labels| labels.contains_key(labels::STACK)) {
            return Ok(Some(container));
        }
        Err(EngineError::Refused {
            act: format!("{verb} {}", id.short()),
            message: format!("it is not the agent's: it has no label `{}`", labels::STACK),
        })
    }

    /// As [`Docker::own`], but it must be there.
    pub(super) async fn inspect_own(
        &self,
        id: &InstanceId,
        verb: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        self.own(id, verb).await?.ok_or_else(|| EngineError::Refused {
            act: format!("{verb} {}", id.short()),
            message: "it is gone".to_owned(),
        })
    }
}
