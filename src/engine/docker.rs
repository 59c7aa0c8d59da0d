//! Docker Engine 20.10 and newer, over its Unix socket. Each room below does one thing; this file only joins
//! them into an [`Engine`].
//!
//! It keeps no state of its own: the truth is the engine's, and what must outlive the agent is in labels.

mod aside;
mod body;
mod build;
mod connect;
mod create;
mod credentials;
mod endpoint;
mod fault;
mod happenings;
mod host;
mod image;
mod labels;
mod leash;
mod lifetime;
mod network;
mod observe;
mod output;
mod progress;
mod shelf;
mod signal;
mod volume;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::stream::BoxStream;

use super::{
    Begin, BuildOrder, Engine, EngineError, EngineFacts, Finished, Happening, LineSink, TarStream, Written,
};
use crate::model::instance::{
    Condition, Identity, InstanceId, NetworkSpec, NetworkUse, Observed, RestartSpec, Template, VolumeSpec,
};

#[derive(Clone)]
pub struct Docker {
    client: bollard::Docker,
    /// Where it listens, for messages.
    at: String,
    /// The newest API the engine speaks: `(1, 41)`.
    api: (usize, usize),
    /// The folder of `docker login`'s file.
    login: Option<PathBuf>,
}

impl Engine for Docker {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        self.read_facts().await
    }

    async fn observe(&self, stack: &str) -> Result<Observed, EngineError> {
        self.observe_stack(stack).await
    }

    async fn image(&self, reference: &str) -> Result<Option<String>, EngineError> {
        self.image_id(reference).await
    }

    async fn pull(&self, reference: &str, line: LineSink<'_>) -> Result<String, EngineError> {
        self.pull_image(reference, line).await
    }

    async fn tag(&self, id: &str, name: &str) -> Result<(), EngineError> {
        self.tag_image(id, name).await
    }

    async fn untag(&self, name: &str) -> Result<(), EngineError> {
        self.untag_image(name).await
    }

    async fn drop_nameless(&self, stack: &str) -> Result<(), EngineError> {
        self.drop_nameless_images(stack).await
    }

    async fn stack_images(&self, stack: &str) -> Result<Vec<String>, EngineError> {
        self.list_images(stack).await
    }

    async fn build(
        &self,
        order: &BuildOrder,
        context: TarStream,
        line: LineSink<'_>,
    ) -> Result<String, EngineError> {
        self.build_image(order, context, line).await
    }

    async fn ensure_network(&self, stack: &str, network: &NetworkSpec) -> Result<(), EngineError> {
        self.have_network(stack, network).await
    }

    async fn ensure_volume(&self, stack: &str, volume: &VolumeSpec) -> Result<(), EngineError> {
        self.have_volume(stack, volume).await
    }

    async fn create(&self, template: &Template, identity: &Identity) -> Result<InstanceId, EngineError> {
        self.create_instance(template, identity).await
    }

    async fn start(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.start_instance(id).await
    }

    async fn condition(&self, id: &InstanceId) -> Result<Condition, EngineError> {
        self.look_at(id).await
    }

    async fn admit(&self, id: &InstanceId, networks: &[NetworkUse]) -> Result<(), EngineError> {
        self.rename_endpoints(id, networks).await
    }

    async fn dismiss(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.rename_endpoints(id, &[]).await
    }

    async fn stop(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.stop_instance(id, None).await
    }

    async fn stop_within(&self, id: &InstanceId, most: Duration) -> Result<(), EngineError> {
        self.stop_instance(id, Some(most)).await
    }

    async fn keep_up(&self, id: &InstanceId, restart: &RestartSpec) -> Result<(), EngineError> {
        self.set_restart(id, restart).await
    }

    async fn rename(&self, id: &InstanceId, name: &str) -> Result<(), EngineError> {
        self.rename_instance(id, name).await
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.remove_instance(id, false).await
    }

    async fn discard(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.remove_instance(id, true).await
    }

    async fn shelve(&self, id: &InstanceId, patient: bool) -> Result<(), EngineError> {
        self.shelve_instance(id, patient).await
    }

    async fn mounted(&self, stack: &str) -> Result<Vec<String>, EngineError> {
        self.mounted_paths(stack).await
    }

    async fn logs(&self, id: &InstanceId, lines: usize) -> Result<String, EngineError> {
        self.last_logs(&id.0, lines).await
    }

    async fn last_written(&self, id: &InstanceId, lines: usize) -> Result<Vec<Written>, EngineError> {
        self.last_lines(id, lines).await
    }

    fn follow(&self, id: &InstanceId, from: Begin) -> BoxStream<'static, Result<Written, EngineError>> {
        self.follow_logs(id, from)
    }

    async fn exec(&self, id: &InstanceId, command: &[&str]) -> Result<Finished, EngineError> {
        self.exec_in(id, command).await
    }

    async fn signal(&self, id: &InstanceId, signal: &str) -> Result<(), EngineError> {
        self.send_signal(id, signal).await
    }

    async fn run_aside(
        &self,
        template: &Template,
        stack: &str,
        command: &[&str],
    ) -> Result<Finished, EngineError> {
        self.run_to_end(template, stack, command).await
    }

    fn happenings(&self, stack: &str) -> BoxStream<'static, Result<Happening, EngineError>> {
        self.watch(stack)
    }

    async fn remove_networks(&self, stack: &str) -> Result<(), EngineError> {
        self.drop_networks(stack).await
    }

    async fn remove_volumes(&self, stack: &str) -> Result<(), EngineError> {
        self.drop_volumes(stack).await
    }
}
