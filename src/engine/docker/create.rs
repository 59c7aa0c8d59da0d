//! Creating an instance: the image and namespaces it refers to are resolved, then it is put on its networks.
//! It is not started here.

use bollard::models::{HostConfig, NetworkConnectRequest};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::{Docker, body, host};
use crate::engine::EngineError;
use crate::model::instance::{Identity, ImageRef, InstanceId, MountSpec, Template};

/// Below this API one MAC address belongs to the whole container, and one given to an endpoint is dropped
/// in silence.
const MAC_PER_ENDPOINT: (usize, usize) = (1, 44);

impl Docker {
    pub(super) async fn create_instance(
        &self,
        template: &Template,
        identity: &Identity,
    ) -> Result<InstanceId, EngineError> {
        let name = identity.container_name(template);
        self.check_mac(template, &name)?;
        let (image, image_id) = self.resolve_image(&template.image).await?;
        let template = &self.with_volumes(template, identity, &image_id).await?;
        let host = self.host_config(template, identity).await?;
        let body = body::container(template, identity, &image, &image_id, host);
        let mut options = CreateContainerOptionsBuilder::default().name(&name);
        if let Some(platform) = &template.platform {
            options = options.platform(platform);
        }
        let created = self.client.create_container(Some(options.build()), body).await;
        let id = InstanceId(created.map_err(|error| self.fault(format!("create {name}"), error))?.id);

        // Engines below API 1.44 take one network at creation; the others are joined before the start.
        for network in template.networks.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: id.0.clone(),
                endpoint_config: Some(body::endpoint(network, identity)),
            };
            if let Err(error) = self.client.connect_network(&network.network, request).await {
                let error = self.fault(format!("put {name} on network {}", network.network), error);
                self.remove_instance(&id, true).await?;
                return Err(error);
            }
        }
        Ok(id)
    }

    /// With the volumes that are taken over in the places of new ones.
    async fn with_volumes(
        &self,
        template: &Template,
        identity: &Identity,
        image: &str,
    ) -> Result<Template, EngineError> {
        let mut template = template.clone();
        if identity.volumes.is_empty() {
            return Ok(template);
        }
        let fault = |error| self.fault(format!("look at image {image}"), error);
        let declared = self.client.inspect_image(image).await.map_err(fault)?;
        let declared = declared.config.and_then(|config| config.volumes).unwrap_or_default();
        for (place, volume) in &identity.volumes {
            let mount = template.mounts.iter_mut().find(|mount| mount.target() == place);
            match mount {
                Some(MountSpec::Volume { name: name @ None, .. }) => *name = Some(volume.clone()),
                Some(_) => {}
                None if declared.iter().any(|declared| declared.trim_end_matches('/') == place) => {
                    template.mounts.push(MountSpec::Volume {
                        name: Some(volume.clone()),
                        target: place.clone(),
                        read_only: false,
                        nocopy: false,
                    });
                }
                None => {}
            }
        }
        Ok(template)
    }

    /// What to create from, and its content id. The name people know is used only while it means that id:
    /// a tag moved meanwhile must not change what runs.
    pub(super) async fn resolve_image(&self, image: &ImageRef) -> Result<(String, String), EngineError> {
        let named = self.image_id(&image.name).await?;
        match named {
            Some(id) if image.id.is_empty() || image.id == id => return Ok((image.name.clone(), id)),
            _ if image.id.is_empty() => return Err(EngineError::NoImage { reference: image.name.clone() }),
            _ => {}
        }
        match self.image_id(&image.id).await? {
            Some(id) => Ok((image.id.clone(), id)),
            None => Err(EngineError::NoImage { reference: format!("{} ({})", image.name, image.id) }),
        }
    }

    async fn host_config(&self, template: &Template, identity: &Identity) -> Result<HostConfig, EngineError> {
        let first = template.networks.first().map(|network| network.network.clone());
        let mode = self.namespace(template.network_mode.as_deref(), &identity.stack).await?;
        Ok(HostConfig {
            network_mode: mode.or(first),
            pid_mode: self.namespace(template.pid_mode.as_deref(), &identity.stack).await?,
            ipc_mode: self.namespace(template.ipc_mode.as_deref(), &identity.stack).await?,
            ..host::config(template)
        })
    }

    /// `service:NAME` becomes the newest running instance of that service.
    async fn namespace(&self, mode: Option<&str>, stack: &str) -> Result<Option<String>, EngineError> {
        let Some(mode) = mode else { return Ok(None) };
        let Some(service) = mode.strip_prefix("service:") else { return Ok(Some(mode.to_owned())) };
        let instances = self.observe_stack(stack).await?.instances;
        let newest =
            instances.into_iter().rfind(|instance| instance.service == service && instance.running());
        match newest {
            Some(instance) => Ok(Some(format!("container:{}", instance.id.0))),
            None => Err(EngineError::Refused {
                act: format!("share namespaces as `{mode}`"),
                message: format!("no instance of {service} runs: let the service depend on it"),
            }),
        }
    }

    fn check_mac(&self, template: &Template, name: &str) -> Result<(), EngineError> {
        if self.api >= MAC_PER_ENDPOINT
            || template.networks.iter().all(|network| network.mac_address.is_none())
        {
            return Ok(());
        }
        Err(EngineError::Refused {
            act: format!("create {name}"),
            message: "`mac_address` on a network needs Docker Engine 25 or newer".to_owned(),
        })
    }
}
