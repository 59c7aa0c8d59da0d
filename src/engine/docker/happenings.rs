//! What happens to the stack's instances, as the engine tells it. A broken stream ends with an error: whoever
//! listens looks at everything again and asks for a new one.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::stream::{BoxStream, StreamExt};

use super::{Docker, labels};
use crate::engine::{EngineError, Happening};
use crate::model::instance::InstanceId;

/// Not `exec_…` and its like: health checks alone would make several a second.
const TOLD: [&str; 9] =
    ["start", "restart", "die", "oom", "stop", "pause", "unpause", "destroy", "health_status"];

impl Docker {
    pub(super) fn watch(&self, stack: &str) -> BoxStream<'static, Result<Happening, EngineError>> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={stack}", labels::STACK)]),
            ("event", TOLD.map(str::to_owned).to_vec()),
        ]);
        let events = self.client.events(Some(EventsOptionsBuilder::default().filters(&filters).build()));
        let (docker, act) = (self.clone(), format!("tell what happens to {stack}"));
        let told = events.map(move |event| event.map_err(|error| docker.fault(act.clone(), error)));
        told.filter_map(|event| async { event.map(happening).transpose() }).boxed()
    }
}

impl Docker {
    /// The exit code of an instance's last end, of which its state says nothing once it runs again. The engine keeps
    /// a few hundred events; `None` when that one is no longer among them.
    pub(super) async fn last_exit(
        &self,
        id: &InstanceId,
        since: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Option<i64> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("container", vec![id.0.clone()]),
            ("event", vec!["die".to_owned()]),
        ]);
        let (since, until) =
            (since?.timestamp().to_string(), (chrono::Utc::now().timestamp() + 1).to_string());
        let past = EventsOptionsBuilder::default().since(&since).until(&until).filters(&filters).build();
        let events: Vec<_> =
            self.client.events(Some(past)).filter_map(|event| async { event.ok() }).collect().await;
        events.last()?.actor.as_ref()?.attributes.as_ref()?.get("exitCode")?.parse().ok()
    }
}

fn happening(event: EventMessage) -> Option<Happening> {
    let actor = event.actor?;
    let service = actor.attributes.and_then(|mut labels| labels.remove(labels::SERVICE));
    Some(Happening {
        instance: InstanceId(actor.id?),
        service: service.unwrap_or_default(),
        what: event.action?,
    })
}
