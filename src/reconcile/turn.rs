//! One turn: look at the branch, decide, act; and what is wrong afterwards.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::Revision;
use crate::model::class::Class;
use crate::model::instance::Observed;
use crate::model::run::{Failure, Kind};
use crate::plan::diff::Purpose;
use crate::record::{Hold, Release, Target, Why};
use crate::trigger::Reason;

use super::Reconciler;
use super::decide::{Decision, Known, decide};
use super::journal::now;
use super::render::blocking;
use super::run::Goal;
use super::situation::{Doing, Wrong};
use super::trouble::Trouble;

/// Without a wake for so long, a burst of pushes is over; one that lasts longer than this is not waited out.
const QUIET: Duration = Duration::from_millis(250);
const BURST: Duration = Duration::from_secs(3);

impl<E: Engine> Reconciler<E> {
    /// Turns for ever; ends when `stop` is cancelled, between two turns. A run in progress is cut off there by
    /// the process's end at the latest, and recovered by the next start.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let reason = tokio::select! {
                reason = self.wakes.next() => reason,
                () = stop.cancelled() => return,
            };
            self.turn(&reason).await;
        }
    }

    /// One turn. Its trouble, if it met some, is in the situation afterwards.
    pub async fn turn(&self, reason: &Reason) {
        if self.still_backing_off(reason) {
            return;
        }
        let doing = Doing::Turn { why: reason.to_string(), since: now(), run: None };
        self.situation.send_modify(|situation| situation.doing = doing);
        let result = self.reach(reason).await;
        let again = matches!(result, Err(Trouble::Newer));
        self.settle(result).await;
        if again {
            tracing::info!("something newer is to be reached");
            self.until_quiet().await;
        }
    }

    /// Lets a burst of pushes pass, so that each of them does not begin a run only to be overtaken by the next.
    async fn until_quiet(&self) {
        let deadline = tokio::time::Instant::now() + BURST;
        while tokio::time::Instant::now() < deadline {
            let seen = self.wakes.pending();
            tokio::time::sleep(QUIET).await;
            if self.wakes.pending() == seen {
                return;
            }
        }
    }

    async fn reach(&self, reason: &Reason) -> Result<(), Trouble> {
        self.recover().await?;
        let target = self.record.target().await?;
        if target == Target::Down {
            return self.take_down().await;
        }
        let looked = self.look().await;
        // A rollback and healing need no remote; what is wrong with it is told after them.
        let (tip, unreachable) = match looked {
            Ok(tip) => (Some(tip), None),
            Err(trouble) => (None, Some(trouble)),
        };
        let current = self.record.current().await?;
        let decision = self.decision(&target, tip.as_ref(), current.as_ref(), reason).await?;
        match (decision, tip) {
            (Decision::Deploy, Some(tip)) => self.deploy(&tip, reason).await?,
            (Decision::Unpin, Some(tip)) => {
                self.record.set_target(&Target::Branch).await?;
                self.deploy(&tip, reason).await?;
            }
            (Decision::Restore(hold), _) => {
                if let Some(trouble) =
                    self.stalled().await.filter(|_| !matches!(reason, Reason::Cli | Reason::Boot))
                {
                    return Err(trouble);
                }
                let release = self.record.release(hold.release).await?;
                self.run_to(Kind::Rollback, &Goal::Release(&release, Purpose::Release), reason).await?;
            }
            _ => {
                if let Some(current) = current.filter(|_| looks_at_containers(reason)) {
                    self.heal(&current, reason).await?;
                }
            }
        }
        unreachable.map_or(Ok(()), Err)
    }

    /// What the last turn met, if only a person can mend it; not what stands in the tip's way.
    async fn stalled(&self) -> Option<Trouble> {
        let wrong = self.situation.borrow().wrong.clone()?;
        let standing = self.standing().await.is_some_and(|standing| standing.failure == wrong.failure);
        (wrong.class == Class::Stalled && !standing)
            .then_some(Trouble::Failure { class: wrong.class, failure: wrong.failure })
    }

    /// Asks the remote where the branch points.
    pub(super) async fn look(&self) -> Result<Revision, Trouble> {
        let mirror = self.mirror.clone();
        let tip = blocking(move || Ok(mirror.tip()?)).await?;
        self.situation.send_if_modified(|situation| {
            situation.looked_at = Some(now());
            situation.tip.replace(tip.to_string()).as_deref() != Some(tip.as_str())
        });
        Ok(tip)
    }

    async fn decision(
        &self,
        target: &Target,
        tip: Option<&Revision>,
        current: Option<&Release>,
        reason: &Reason,
    ) -> Result<Decision, Trouble> {
        let applied = self.record.applied().await?;
        let restored = match target {
            Target::Pinned(hold) => current.is_some_and(|current| current.id == hold.release),
            _ => false,
        };
        let Some(tip) = tip else {
            return Ok(match target {
                Target::Pinned(hold) if !restored => Decision::Restore(hold.clone()),
                _ => Decision::Keep,
            });
        };
        let denied = self.record.denial(tip).await?.is_some();
        let beyond_pin = match target {
            Target::Pinned(Hold { denied: Some(denied), .. }) if denied != tip => {
                self.descends(tip, denied).await?
            }
            _ => false,
        };
        let known = Known { target, tip, applied: applied.as_ref(), denied, beyond_pin };
        let decision = decide(&known, restored);
        if !matches!(decision, Decision::Deploy | Decision::Unpin) {
            self.forget_held_back();
            return Ok(decision);
        }
        match self.may_run(tip, reason).await? {
            true => Ok(decision),
            // For now it is as good as denied: a pin holds against it, and what runs is kept.
            false => Ok(decide(&Known { denied: true, ..known }, restored)),
        }
    }

    async fn descends(&self, tip: &Revision, from: &Revision) -> Result<bool, Trouble> {
        let (mirror, tip, from) = (self.mirror.clone(), tip.clone(), from.clone());
        blocking(move || {
            mirror.fetch(None)?;
            Ok(mirror.is_ancestor(&from, &tip)?)
        })
        .await
    }

    async fn deploy(&self, tip: &Revision, reason: &Reason) -> Result<(), Trouble> {
        let (mirror, applied) = (self.mirror.clone(), self.record.applied().await?);
        let fetched = blocking(move || Ok(mirror.fetch(applied.as_ref())?)).await?;
        if fetched.forced {
            tracing::warn!("the branch was rewritten: it no longer contains the revision that runs");
        }
        if let Some(why) = fetched.recloned {
            tracing::warn!("the mirror was cloned anew: {why}");
        }
        // The branch may have moved between the look and the fetch: what was fetched counts.
        let revision = if fetched.revision == *tip { tip } else { &fetched.revision };
        if revision != tip && !self.cleared(revision).await? {
            return Ok(());
        }
        self.run_to(Kind::Deploy, &Goal::Revision(revision), reason).await
    }

    /// The turn is over: what it met is what is wrong now, or else what keeps the tip from going live.
    async fn settle(&self, result: Result<(), Trouble>) {
        let met = match result {
            Ok(()) | Err(Trouble::Newer) => None,
            Err(Trouble::Failure { class, failure }) => Some((class, failure)),
        };
        let standing = self.standing().await;
        self.situation.send_modify(|situation| {
            situation.doing = Doing::Idle;
            situation.turns += 1;
            situation.wrong = met.map(|met| self.wrong(met, situation.wrong.take())).or(standing);
        });
    }

    /// Why the tip is not tried again. A turn that leaves it alone meets nothing, and yet something is wrong.
    async fn standing(&self) -> Option<Wrong> {
        let tip = self.situation.borrow().tip.as_deref().and_then(|tip| tip.parse().ok())?;
        let denial = self.record.denial(&tip).await.ok()??;
        match denial.why {
            Why::Stalled { failure } => {
                Some(Wrong { class: Class::Stalled, failure, since: denial.at, again_at: None })
            }
            Why::RolledBack => None,
        }
    }

    fn wrong(&self, (class, failure): (Class, Failure), before: Option<Wrong>) -> Wrong {
        tracing::error!(?class, "{}", failure.message);
        let same = before.filter(|before| before.failure.message == failure.message);
        let since = same.as_ref().map_or_else(now, |before| before.since);
        let again_at = (class != Class::Stalled).then(|| self.try_again_after(now() - since));
        Wrong { class, failure, since, again_at }
    }

    /// Doubles with the time the trouble has lasted, from 2 s up to 5 min, and differs by a fifth.
    fn try_again_after(&self, lasted: i64) -> i64 {
        let wait = lasted.clamp(2_000, 300_000);
        let wait = wait - wait / 10 + now().rem_euclid(wait / 5 + 1);
        let wakes = self.wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait as u64)).await;
            // In memory the wake holds even when it cannot be written.
            let _ = wakes.wake(Reason::Retry).await;
        });
        now() + wait
    }

    /// The timer does not hurry what waits for its next try; a person and a push do.
    fn still_backing_off(&self, reason: &Reason) -> bool {
        let again_at = self.situation.borrow().wrong.as_ref().and_then(|wrong| wrong.again_at);
        *reason == Reason::Poll && again_at.is_some_and(|at| at > now())
    }

    async fn take_down(&self) -> Result<(), Trouble> {
        let stack = &self.config.stack.name;
        let Observed { instances, failed, .. } = self.engine.observe(stack).await?;
        for instance in instances.into_iter().chain(failed) {
            self.engine.stop(&instance.id).await?;
            self.engine.remove(&instance.id).await?;
        }
        self.engine.remove_networks(stack).await?;
        Ok(self.record.forget_current().await?)
    }
}

/// A poll asks the branch only: what happens to containers is told by the engine's own events.
fn looks_at_containers(reason: &Reason) -> bool {
    *reason != Reason::Poll
}
