//! What is not the agent's is not touched.

use agent::engine::{Engine, EngineError};
use agent::model::instance::{InstanceId, VolumeSpec};

use crate::yard::{BASE, IDLE, Yard};

fn somebody(yard: &Yard, name: &str, label: &str) -> InstanceId {
    let name = yard.foreign(name);
    InstanceId(yard.docker(&["run", "-d", "--name", &name, "--label", label, BASE, "sleep", "3600"]))
}

pub(crate) async fn what_is_not_the_stacks_is_never_listed(engine: &impl Engine, yard: &Yard) {
    somebody(yard, "plain", "a=b");
    // Compose's own label alone does not make it the agent's.
    somebody(yard, "composed", &format!("com.docker.compose.project={}", yard.stack));
    somebody(yard, "other", &format!("agent.stack={}-x-other", yard.stack));
    let ours = yard.started(engine, &yard.template("web", IDLE), &yard.identity(1)).await;
    let ids: Vec<_> =
        engine.observe(&yard.stack).await.unwrap().instances.into_iter().map(|i| i.id).collect();
    assert_eq!(ids, [ours]);
}

pub(crate) async fn what_is_not_the_agents_is_never_stopped_or_removed(engine: &impl Engine, yard: &Yard) {
    let theirs = somebody(yard, "plain", &format!("com.docker.compose.project={}", yard.stack));
    let refusals = [engine.stop(&theirs).await, engine.remove(&theirs).await, engine.dismiss(&theirs).await];
    for refused in refusals {
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, EngineError::Refused { message, .. } if message.contains("not the agent's"))
        );
    }
    assert_eq!(yard.inspect(&theirs, "{{.State.Status}}"), "running");
}

pub(crate) async fn only_the_stacks_networks_and_volumes_are_removed(engine: &impl Engine, yard: &Yard) {
    let (network, volume) = (yard.foreign("net"), yard.foreign("vol"));
    let project = format!("com.docker.compose.project={}", yard.stack);
    yard.docker(&["network", "create", "--label", &project, &network]);
    yard.docker(&["volume", "create", "--label", &project, &volume]);
    let ours =
        VolumeSpec { key: "data".to_owned(), name: format!("{}_data", yard.stack), ..Default::default() };
    engine.ensure_network(&yard.stack, &yard.network()).await.unwrap();
    engine.ensure_volume(&yard.stack, &ours).await.unwrap();

    engine.remove_networks(&yard.stack).await.unwrap();
    engine.remove_volumes(&yard.stack).await.unwrap();
    yard.docker(&["network", "inspect", &network]);
    yard.docker(&["volume", "inspect", &volume]);
    assert!(!yard.try_docker(&["network", "inspect", &yard.network().name]).0);
    assert!(!yard.try_docker(&["volume", "inspect", &ours.name]).0);
}

pub(crate) async fn a_volume_that_exists_is_used_and_kept(engine: &impl Engine, yard: &Yard) {
    let spec = VolumeSpec { key: "data".to_owned(), name: yard.foreign("data"), ..Default::default() };
    let missing = VolumeSpec { external: true, ..spec.clone() };
    let refused = engine.ensure_volume(&yard.stack, &missing).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("docker volume create"))
    );
    yard.docker(&["volume", "create", &spec.name]);
    engine.ensure_volume(&yard.stack, &missing).await.unwrap();
    engine.ensure_volume(&yard.stack, &spec).await.unwrap();
    engine.remove_volumes(&yard.stack).await.unwrap();
    yard.docker(&["volume", "inspect", &spec.name]);
}
