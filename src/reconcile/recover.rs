//! Every run that has begun and not ended is brought to an end, from its log and from what the engine shows:
//! after a crash, and after a run whose own way back failed. One whose requests had been switched is live, so only
//! its old instances are left to retire; any other is undone.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::run::{Entry, Outcome, Status};
use crate::plan::diff::Plan;
use crate::plan::{nginx, upstreams};
use crate::record::Run;
use crate::roll::Journal;

use super::Reconciler;
use super::apply::Act;
use super::trouble::Trouble;

impl<E: Engine> Reconciler<E> {
    /// Ends what was left in the middle. The first act of every turn: no plan may be made from a state between.
    pub(super) async fn recover(&self) -> Result<(), Trouble> {
        for run in self.record.unended().await? {
            tracing::warn!(run = run.id.0, status = %run.status, "this run was left in the middle");
            self.recover_one(&run).await?;
        }
        Ok(())
    }

    async fn recover_one(&self, run: &Run) -> Result<(), Trouble> {
        let journal = self.journal(run.id);
        let touched =
            matches!(run.status, Status::BringingUp | Status::Switching | Status::Live | Status::Reverting);
        let intent = self.record.intent(run.id).await?.filter(|_| touched);
        let Some((plan, desired)) = intent else {
            journal.write(Entry::Ended { outcome: Outcome::Interrupted }).await?;
            return Ok(());
        };
        let current = self.record.current().await?;
        let before = current.as_ref().map(|release| &release.desired);
        let newer = CancellationToken::new();
        let act =
            Act { world: self, journal, desired: &desired, before, plan: &plan, run: run.id, newer: &newer };
        if run.status == Status::Live {
            act.retire().await?;
            act.journal.write(Entry::Ended { outcome: Outcome::Succeeded }).await?;
            return Ok(());
        }
        let mut written = Ok(());
        if run.status != Status::Reverting {
            let reason = "the run was cut off before requests were switched".to_owned();
            written = act.journal.write(Entry::Reverting { reason }).await;
        }
        let text = self.nginx_of(&act, &plan).await?;
        let back = act.put_back(text, None).await;
        written?;
        back?;
        act.journal.write(Entry::Ended { outcome: Outcome::Interrupted }).await?;
        Ok(())
    }

    /// nginx's text for the release before the run, from the instances that served before it.
    async fn nginx_of(&self, act: &Act<'_, E>, plan: &Plan) -> Result<Option<String>, Trouble> {
        let Some(before) = act.before.filter(|before| before.proxy().is_some()) else { return Ok(None) };
        let before = &self.on_this_machine(before).await?;
        let observed = self.engine.observe(&before.stack).await?;
        let ours = observed.instances.iter().filter(|instance| instance.run == act.run);
        let olds = plan.rolls.iter().flat_map(|roll| &roll.old);
        let idle = olds.filter(|old| !old.serving).map(|old| &old.id);
        let others: BTreeSet<&str> =
            ours.map(|instance| &instance.id).chain(idle).map(|id| id.0.as_str()).collect();
        let upstreams = upstreams::observed(before, &observed, |id| others.contains(id));
        let text = nginx::render(&before.routes, &upstreams, &before.nginx);
        text.map(Some).map_err(|problem| vec![problem].into())
    }
}
