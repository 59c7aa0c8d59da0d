//! What a deploy would do, without doing it: `agent plan` and `agent config`.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::plan::compose::to_json;
use crate::plan::diff::{Plan, Purpose};
use crate::reconcile::{Reconciler, Trouble};

/// A plan with what people need to read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preview {
    pub plan: Plan,
    pub subject: String,
    pub warnings: Vec<String>,
}

impl<E: Engine> Reconciler<E> {
    /// The plan for the tip of the branch. Images of others may be pulled for it; nothing else is touched.
    pub async fn preview(&self) -> Result<Preview, Trouble> {
        let (revision, subject) = self.fetch_tip().await?;
        let current = self.record.current().await?;
        let before: Option<&Desired> = current.as_ref().map(|release| &release.desired);
        let rendered = self.render(&revision, before).await?;
        let observed = self.engine.observe(&self.config.stack.name).await?;
        let plan =
            self.plan(&rendered.desired, before, &observed, Purpose::Release, &rendered.missing).await?;
        Ok(Preview { plan, subject, warnings: rendered.warnings })
    }

    /// The stack at the tip of the branch, in the shape of `docker compose config --format json`.
    pub async fn rendered_config(&self) -> Result<serde_json::Value, Trouble> {
        let (revision, _) = self.fetch_tip().await?;
        Ok(to_json(&self.read(&revision).await?.project))
    }
}
