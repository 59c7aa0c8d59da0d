//! After a crash: every run that has begun and not ended is brought to an end, from its log and from what the
//! engine shows. One whose requests had been switched is finished; any other is undone.

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::run::{Entry, Kind, Outcome, Status};
use crate::plan::diff::Plan;
use crate::plan::{nginx, upstreams};
use crate::record::{Run, Target};
use crate::roll::Journal;

use super::Reconciler;
use super::apply::Act;
use super::journal::{RunJournal, now};
use super::trouble::Trouble;

impl<E: Engine> Reconciler<E> {
    /// Ends what a killed agent left. Called before the first turn, with nobody else at work.
    pub async fn recover(&self) -> Result<(), Trouble> {
        for run in self.record.unended().await? {
            tracing::warn!(run = run.id.0, status = %run.status, "an earlier agent was cut off in this run");
            self.recover_one(&run).await?;
        }
        Ok(())
    }

    async fn recover_one(&self, run: &Run) -> Result<(), Trouble> {
        let journal = RunJournal { record: self.record.clone(), run: run.id };
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
            return self.finish(run, &desired).await;
        }
        if run.status != Status::Reverting {
            let reason = "the agent was cut off before requests were switched".to_owned();
            act.journal.write(Entry::Reverting { reason }).await?;
        }
        let text = self.nginx_of(&act, &plan).await?;
        act.put_back(text).await?;
        act.journal.write(Entry::Ended { outcome: Outcome::Interrupted }).await?;
        Ok(())
    }

    async fn finish(&self, run: &Run, desired: &crate::model::desired::Desired) -> Result<(), Trouble> {
        match (run.kind, self.record.target().await?) {
            (Kind::Rollback, Target::Pinned(hold)) => {
                let release = self.record.release(hold.release).await?;
                self.record.restored(run.id, &release, now()).await?;
            }
            (Kind::Heal, _) => {
                let journal = RunJournal { record: self.record.clone(), run: run.id };
                journal.write(Entry::Ended { outcome: Outcome::Succeeded }).await?;
            }
            _ => {
                self.record.succeed(run.id, desired, &run.subject, now()).await?;
            }
        }
        Ok(())
    }

    /// nginx's text for the release before the run, from the instances that were not the run's own.
    async fn nginx_of(&self, act: &Act<'_, E>, plan: &Plan) -> Result<Option<String>, Trouble> {
        let Some(before) = act.before.filter(|before| before.proxy().is_some()) else { return Ok(None) };
        let before = &self.on_this_machine(before);
        let observed = self.engine.observe(&before.stack).await?;
        let ours: Vec<&str> = observed
            .instances
            .iter()
            .filter(|instance| instance.run == act.run)
            .map(|instance| instance.id.0.as_str())
            .collect();
        debug_assert!(
            plan.rolls.iter().flat_map(|roll| &roll.old).all(|old| !ours.contains(&old.id.0.as_str()))
        );
        let upstreams = upstreams::observed(before, &observed, |id| ours.contains(&id));
        let text = nginx::render(&before.routes, &upstreams, &before.nginx);
        text.map(Some).map_err(|problem| vec![problem].into())
    }
}
