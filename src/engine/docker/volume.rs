//! The stack's named volumes. One that exists is used whoever made it: it holds somebody's data. Only those
//! with the agent's label are ever removed, and only when a person says so.

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::Docker;
use super::fault::found;
use super::labels::{self, of_stack, of_thing};
use crate::engine::EngineError;
use crate::model::instance::VolumeSpec;

impl Docker {
    pub(super) async fn have_volume(&self, stack: &str, spec: &VolumeSpec) -> Result<(), EngineError> {
        let act = || format!("make volume {}", spec.name);
        let looked = found(self.client.inspect_volume(&spec.name).await);
        if looked.map_err(|error| self.fault(act(), error))?.is_some() {
            return Ok(());
        }
        if spec.external {
            let message = format!("it is external and does not exist: `docker volume create {}`", spec.name);
            return Err(EngineError::Refused { act: act(), message });
        }
        let request = VolumeCreateRequest {
            name: Some(spec.name.clone()),
            driver: spec.driver.clone(),
            driver_opts: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(of_thing(stack, &spec.labels, Some((labels::VOLUME, &spec.key)))),
            ..Default::default()
        };
        self.client.create_volume(request).await.map(drop).map_err(|error| self.fault(act(), error))
    }

    pub(super) async fn drop_volumes(&self, stack: &str) -> Result<(), EngineError> {
        let filter = ListVolumesOptionsBuilder::default().filters(&of_stack(stack)).build();
        let listed = self.client.list_volumes(Some(filter)).await;
        let listed = listed.map_err(|error| self.fault(format!("list the volumes of {stack}"), error))?;
        for volume in listed.volumes.into_iter().flatten() {
            let removed = found(self.client.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await);
            removed.map_err(|error| self.fault(format!("remove volume {}", volume.name), error))?;
        }
        Ok(())
    }
}
