//! What a deploy would do, without doing it: `agent plan` and `agent config`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Mode;
use crate::engine::Engine;
use crate::model::Revision;
use crate::model::desired::{Desired, Order};
use crate::plan::compose::to_json;
use crate::plan::diff::{Plan, Purpose};
use crate::reconcile::{Reconciler, Trouble};
use crate::record::{Hold, Target, Why};

/// A plan with what people need to read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preview {
    pub plan: Plan,
    pub subject: String,
    pub warnings: Vec<String>,
    /// How long each service that stops first was gone when it was last replaced, in milliseconds.
    pub gaps: BTreeMap<String, u64>,
    /// One service after another.
    pub rolling: bool,
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
        let mut warnings = rendered.warnings;
        warnings.extend(self.held_back(&revision).await?);
        let mut gaps = BTreeMap::new();
        for roll in plan.rolls.iter().filter(|roll| roll.order == Order::StopFirst) {
            if let Some(millis) = self.record.last_gap(&roll.service).await? {
                gaps.insert(roll.service.clone(), millis);
            }
        }
        let rolling = self.config.roll.mode == Mode::Rolling;
        Ok(Preview { plan, subject, warnings, gaps, rolling })
    }

    /// Why the revision does not go live by itself, if so.
    async fn held_back(&self, revision: &Revision) -> Result<Option<String>, Trouble> {
        let denial = self.record.denial(revision).await?.map(|denial| denial.why);
        Ok(match (denial, self.record.target().await?) {
            (_, Target::Down { .. }) => Some("the stack was taken down: agent resume".into()),
            (Some(Why::RolledBack), _) => {
                Some("this revision was rolled back and stays out until agent resume".into())
            }
            (Some(Why::Stalled { failure } | Why::WentBad { failure }), _) => Some(format!(
                "this revision failed and is not tried again until agent retry: {}",
                failure.message
            )),
            (None, Target::Pinned(Hold { hold: true, release, .. })) => {
                Some(format!("release {release} is held until agent resume"))
            }
            (None, _) => None,
        })
    }

    /// The stack at the tip of the branch, in the shape of `docker compose config --format json`.
    pub async fn rendered_config(&self) -> Result<serde_json::Value, Trouble> {
        let (revision, _) = self.fetch_tip().await?;
        Ok(to_json(&self.read(&revision).await?.project))
    }
}
