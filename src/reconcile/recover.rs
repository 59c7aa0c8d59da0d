//! Every run that has begun and not ended is brought to an end, from its log and from what the engine shows:
//! after a crash, and after a run whose own way back failed. One whose requests had been switched is live, so only
//! its old instances are left to retire; any other is undone.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::run::{Entry, Outcome, Status};
use crate::plan::diff::Plan;
use crate::plan::steps::steps;
use crate::plan::{nginx, upstreams};
use crate::record::Run;
use crate::roll::Journal;

use super::Reconciler;
use super::apply::Act;
use super::journal::now;
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
        let intent = self.record.intent(run.id).await?.filter(|_| run.status.touches_containers());
        let Some((plan, desired)) = intent else {
            journal.write(Entry::Ended { outcome: Outcome::Interrupted }).await?;
            return Ok(());
        };
        let current = self.record.current().await?;
        let before = current.as_ref().map(|release| &release.desired);
        let log = self.record.log(run.id, 0).await?;
        let step = log.iter().rev().find_map(|logged| match logged.entry {
            Entry::Step { number, of, .. } => Some((number, of)),
            _ => None,
        });
        // The log and the plan give the same steps again.
        let mut steps = step.map(|_| steps(&plan, &desired, before)).unwrap_or_default();
        let (plan, desired, earlier) = match step {
            Some((number, _)) if (1..=steps.len()).contains(&number) => {
                let this = steps.swap_remove(number - 1);
                let earlier = number.checked_sub(2).map(|done| steps.swap_remove(done).desired);
                (this.plan, this.desired, earlier)
            }
            _ => (plan, desired, None),
        };
        let before = earlier.as_ref().or(before);
        let newer = CancellationToken::new();
        // What began to be put back before has been started since.
        let begun = log.iter().rev().find(|logged| matches!(logged.entry, Entry::Reverting { .. }));
        let begun = begun.filter(|_| run.status == Status::Reverting).map_or_else(now, |logged| logged.at);
        let by_another = self.situation.borrow().turns == 0;
        let act = Act {
            world: self,
            journal,
            desired: &desired,
            before,
            plan: &plan,
            run: run.id,
            newer: &newer,
            waiting: Default::default(),
            asked: None,
            cut_off: by_another.then_some(begun),
        };
        if run.status == Status::Live {
            act.retire().await?;
            // With steps left the next turn goes on from here.
            let whole = step.is_none_or(|(number, of)| number == of);
            let outcome = if whole { Outcome::Succeeded } else { Outcome::Interrupted };
            act.journal.write(Entry::Ended { outcome }).await?;
            return Ok(());
        }
        let mut written = Ok(());
        if run.status != Status::Reverting {
            let reason = "the run was cut off before requests were switched".to_owned();
            written = act.journal.write(Entry::Reverting { reason }).await;
        }
        let text = self.nginx_of(&act, &plan).await?;
        // Nobody waits for what is put back to be well again: the turn goes on to what is to be reached.
        newer.cancel();
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
        let rolled = |service: &str| plan.rolls.iter().any(|roll| roll.service == service);
        let ours = observed.instances.iter();
        let ours = ours.filter(|instance| instance.run == act.run && rolled(&instance.service));
        let olds = plan.rolls.iter().flat_map(|roll| &roll.old);
        let idle = olds.filter(|old| !old.serving).map(|old| &old.id);
        let others: BTreeSet<&str> =
            ours.map(|instance| &instance.id).chain(idle).map(|id| id.0.as_str()).collect();
        let upstreams = upstreams::observed(before, &observed, |id| others.contains(id));
        let text = nginx::text(before, &upstreams, &observed);
        text.map(Some).map_err(|problem| vec![problem].into())
    }
}
