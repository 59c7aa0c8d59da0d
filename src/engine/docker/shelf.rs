//! Instances that failed and are kept for their logs. Labels cannot be changed, a name can: it tells them apart from
//! instances of the stack, for people too.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{KillContainerOptions, ListContainersOptionsBuilder};

use super::Docker;
use super::fault::found;
use super::labels::{self, of_stack};
use crate::engine::EngineError;
use crate::model::instance::{Instance, InstanceId, RestartSpec};

impl Docker {
    pub(super) async fn shelve_instance(&self, id: &InstanceId, patient: bool) -> Result<(), EngineError> {
        let act = || format!("keep {}", id.short());
        let container = self.inspect_own(id, "keep").await?;
        let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
        let run = labels.and_then(|labels| labels.get(labels::RUN)).map_or("", String::as_str);
        let name = container.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned();
        // First, or the engine's next start would start it too.
        self.set_restart(id, &RestartSpec::never()).await?;
        if patient {
            self.stop_instance(id, None).await?;
        } else {
            // What has ended already is as good.
            found(self.client.kill_container(&id.0, None::<KillContainerOptions>).await)
                .map_err(|error| self.fault(act(), error))?;
        }
        self.rename_instance(id, &format!("{name}{}", mark(run))).await
    }

    pub(super) async fn mounted_paths(&self, stack: &str) -> Result<Vec<String>, EngineError> {
        let all = ListContainersOptionsBuilder::default().all(true).filters(&of_stack(stack)).build();
        let listed = self.client.list_containers(Some(all)).await;
        let listed = listed.map_err(|error| self.fault(format!("list what {stack} has mounted"), error))?;
        let mounts = listed.into_iter().flat_map(|container| container.mounts.unwrap_or_default());
        Ok(mounts.filter_map(|mount| mount.source).collect())
    }
}

/// Whether it is kept for its logs alone.
pub(super) fn is_shelved(container: &ContainerInspectResponse, instance: &Instance) -> bool {
    let runs = container.state.as_ref().and_then(|state| state.running).unwrap_or(false);
    !runs && instance.name.ends_with(&mark(&instance.run.to_string()))
}

fn mark(run: &str) -> String {
    format!("-failed-in-run-{run}")
}
