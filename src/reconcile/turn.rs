//! One turn: look at the branch, decide, act; and what is wrong afterwards.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::Revision;
use crate::model::class::Class;
use crate::model::instance::Observed;
use crate::model::run::Kind;
use crate::record::{Hold, Release, Target};
use crate::report;
use crate::source::Mirror;
use crate::trigger::Reason;

use super::Reconciler;
use super::decide::{Decision, Known, decide};
use super::healing::given_up;
use super::journal::now;
use super::render::blocking;
use super::run::Goal;
use super::situation::{Doing, Wrong};
use super::trouble::Trouble;

/// Without a wake for so long, a burst of pushes is over; one that lasts longer than this is not waited out.
const QUIET: Duration = Duration::from_millis(250);
const BURST: Duration = Duration::from_secs(3);
/// How long a remote may keep what runs from being mended, and a person from having it tried again.
const BEFORE_MENDING: Duration = Duration::from_secs(2);

impl<E: Engine> Reconciler<E> {
    /// Turns for ever; ends when `stop` is cancelled, between two turns. A run in progress is cut off there by
    /// the process's end at the latest, and recovered by the next start.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let reason = tokio::select! {
                reason = self.next_wake() => reason,
                () = self.pause_over() => Reason::PauseOver,
                () = stop.cancelled() => return,
            };
            self.turn(&reason).await;
        }
    }

    /// Waits for a wake. From the moment it is taken the loop is seen to be at work.
    pub async fn next_wake(&self) -> Reason {
        self.wakes.next(|reason| self.begin(reason)).await
    }

    fn begin(&self, reason: &Reason) {
        let doing = Doing::Turn { why: reason.to_string(), since: now(), run: None };
        self.situation.send_modify(|situation| situation.doing = doing);
    }

    /// One turn. Its trouble, if it met some, is in the situation afterwards.
    pub async fn turn(&self, reason: &Reason) {
        let resting = self.still_backing_off(reason);
        if resting && !looks_at_containers(reason) {
            self.situation.send_modify(|situation| situation.doing = Doing::Idle);
            return;
        }
        self.begin(reason);
        let result = if resting { self.only_mend(reason).await } else { self.reach(reason).await };
        self.gap.end();
        let again = matches!(result, Err(Trouble::Newer));
        self.settle(result, resting).await;
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
        let mut target = self.record.target().await?;
        if matches!(target, Target::Down { .. }) {
            return self.take_down().await;
        }
        if let Target::Back { release } = target
            && self.record.current().await?.is_some_and(|current| current.id == release)
        {
            // It was to be taken down and to come back before that began.
            self.record.exchange_target(&target, &Target::Branch).await?;
            target = self.record.target().await?;
        }
        let mut mended = false;
        let reached = self.go_for(&target, reason, &mut mended).await;
        if matches!(reached, Err(Trouble::Failure { .. })) {
            // Meanwhile what runs is kept as it is. Why it could not be reached is what a person needs to know.
            let kept = if mended { self.recover().await } else { self.recover_and_mend(reason).await };
            if let Err(Trouble::Failure { failure, .. }) = kept {
                tracing::warn!("mending what runs: {}", failure.message);
            }
        }
        reached
    }

    /// Between two tries to reach something: what runs is kept as it is.
    async fn only_mend(&self, reason: &Reason) -> Result<(), Trouble> {
        // One that could not be undone waits for its next try as well.
        if self.record.unended().await?.is_empty() { self.mend(reason).await } else { Ok(()) }
    }

    async fn recover_and_mend(&self, reason: &Reason) -> Result<(), Trouble> {
        self.recover().await?;
        self.mend(reason).await
    }

    async fn mend(&self, reason: &Reason) -> Result<(), Trouble> {
        let target = self.record.target().await?;
        let paused = self.record.paused(now()).await?.is_some();
        match self.record.current().await? {
            Some(current) if !paused && !matches!(target, Target::Down { .. } | Target::Back { .. }) => {
                self.heal(&current, reason).await
            }
            _ => Ok(()),
        }
    }

    /// `mended`: whether what runs was mended, or could not be.
    async fn go_for(&self, target: &Target, reason: &Reason, mended: &mut bool) -> Result<(), Trouble> {
        let current = self.record.current().await?;
        let runs = current.as_ref().map(|current| current.id);
        let back = target.release().is_some_and(|release| runs != Some(release));
        let looked = match (back, reason) {
            // Going back needs no remote, and does not wait for one.
            (true, _) if !self.is_tried_in_vain(target).await? => None,
            (true, Reason::Cli | Reason::Boot) | (_, Reason::Drift) => {
                Some(match tokio::time::timeout(BEFORE_MENDING, self.look()).await {
                    Ok(looked) => looked,
                    Err(_) => Err(Trouble::waiting(
                        "the remote takes long to answer",
                        "what runs is kept as it is meanwhile",
                    )),
                })
            }
            _ => Some(self.look().await),
        };
        // Healing needs no remote either; what is wrong with it is told afterwards.
        let (tip, unreachable) = match looked {
            Some(Ok(tip)) => (Some(tip), None),
            Some(Err(trouble)) => (None, Some(trouble)),
            None => (None, None),
        };
        let decision = self.decision(target, tip.as_ref(), current.as_ref(), reason).await?;
        if self.record.paused(now()).await?.is_some() && !by_a_person(&decision, target) {
            return unreachable.map_or(Ok(()), Err);
        }
        match (decision, tip) {
            (Decision::Down, _) => self.take_down().await?,
            (Decision::Deploy, Some(tip)) => self.deploy(&tip, reason).await?,
            (Decision::Unpin, Some(tip)) => {
                // A person may have said something else since this turn began.
                if !self.record.exchange_target(target, &Target::Branch).await? {
                    return Err(Trouble::Newer);
                }
                self.deploy(&tip, reason).await?;
            }
            (Decision::Restore(id), _) if matches!(target, Target::Back { .. }) => {
                let release = self.record.release(id).await?;
                let (kind, why) = match &current {
                    Some(_) => (Kind::Revert, self.what_went_bad().await?),
                    // The stack was down.
                    None => (Kind::Rollback, reason.to_string()),
                };
                self.run_to(kind, &Goal::Release(&release), &why).await?;
                // Somebody may have mended it meanwhile: the branch was not looked at. A person's word counts for that too.
                let asked = *reason == Reason::Cli;
                let _ = self.wakes.wake(if asked { Reason::Cli } else { Reason::Watch }).await;
            }
            (Decision::Restore(id), _) => {
                if let Some(trouble) =
                    self.stalled().await.filter(|_| !matches!(reason, Reason::Cli | Reason::Boot))
                {
                    return Err(trouble);
                }
                let release = self.record.release(id).await?;
                self.run_to(Kind::Rollback, &Goal::Release(&release), &reason.to_string()).await?;
                let _ = self.wakes.wake(Reason::Watch).await;
            }
            (Decision::Keep, Some(tip))
                if *reason == Reason::Cli && self.differs_around(&tip, target, current.as_ref()).await =>
            {
                self.run_to(Kind::Deploy, &Goal::Revision(&tip), &reason.to_string()).await?;
            }
            _ => {
                // What could not be mended is not well because the branch is as it was.
                let looks = looks_at_containers(reason) || self.situation.borrow().wrong.is_some();
                if let Some(current) = current.filter(|_| looks) {
                    *mended = true;
                    self.heal(&current, reason).await?;
                }
            }
        }
        unreachable.map_or(Ok(()), Err)
    }

    /// Whether the revision that runs would be another stack now: by the files on this machine that it refers to, such
    /// as `env_file`. Only a person's order asks, so that no edit goes live half-way through.
    async fn differs_around(&self, tip: &Revision, target: &Target, current: Option<&Release>) -> bool {
        let Some(current) = current.filter(|current| *target == Target::Branch && current.revision == *tip)
        else {
            return false;
        };
        if !matches!(self.record.denial(tip).await, Ok(None)) {
            return false;
        }
        let Ok(rendered) = self.render(tip, Some(&current.desired)).await else { return false };
        !rendered.desired.same_services(&current.desired)
    }

    /// Waits for the end of a pause that has one.
    async fn pause_over(&self) {
        let pause = self.record.paused(now()).await.ok().flatten();
        match pause.and_then(|pause| pause.until) {
            Some(until) => tokio::time::sleep(Duration::from_millis((until - now()).max(0) as u64)).await,
            None => std::future::pending().await,
        }
    }

    /// Asks the remote where the branch points, and brings what is missing of it here in the same conversation: over a
    /// network each one costs more than all that a turn does with it.
    pub(super) async fn look(&self) -> Result<Revision, Trouble> {
        let mirror = self.mirror.clone();
        let fetched = blocking(move || Ok(mirror.fetch(None)?)).await?;
        if let Some(why) = fetched.recloned {
            tracing::warn!("the mirror was cloned anew: {why}");
        }
        self.seen(&fetched.revision);
        Ok(fetched.revision)
    }

    /// Asks where the branch points and leaves the mirror as it is: a run is reading from it.
    pub(super) async fn look_past(&self) -> Result<Revision, Trouble> {
        let remote = self.mirror.remote().clone();
        let tip = blocking(move || Ok(Mirror::ask(&remote)?)).await?;
        self.seen(&tip);
        Ok(tip)
    }

    fn seen(&self, tip: &Revision) {
        self.situation.send_if_modified(|situation| {
            situation.looked_at = Some(now());
            situation.tip.replace(tip.to_string()).as_deref() != Some(tip.as_str())
        });
    }

    async fn decision(
        &self,
        target: &Target,
        tip: Option<&Revision>,
        current: Option<&Release>,
        reason: &Reason,
    ) -> Result<Decision, Trouble> {
        let applied = self.record.applied().await?;
        let wanted = target.release();
        let restored = wanted.is_some() && wanted == current.map(|current| current.id);
        let Some(tip) = tip else {
            return Ok(wanted.filter(|_| !restored).map_or(Decision::Keep, Decision::Restore));
        };
        let denied = self.record.denial(tip).await?.is_some();
        let beyond_pin = match target {
            Target::Pinned(Hold { seen: Some(seen), .. }) if seen == tip => false,
            Target::Pinned(Hold { denied: Some(denied), .. }) if denied != tip => {
                self.descends(tip, denied).await
            }
            // Nothing was kept out: what comes after the release that was chosen is new.
            Target::Pinned(Hold { denied: None, release, .. }) => {
                let chosen = self.record.release(*release).await?.revision;
                chosen != *tip && self.descends(tip, &chosen).await
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

    /// As long as it cannot be found out, it does not: a pin holds.
    async fn descends(&self, tip: &Revision, from: &Revision) -> bool {
        let (mirror, tip, from) = (self.mirror.clone(), tip.clone(), from.clone());
        match blocking(move || Ok(mirror.is_ancestor(&from, &tip)?)).await {
            Ok(descends) => descends,
            Err(Trouble::Failure { failure, .. }) => {
                tracing::warn!("whether the pin still holds: {}", failure.message);
                false
            }
            Err(Trouble::Newer) => false,
        }
    }

    async fn deploy(&self, tip: &Revision, reason: &Reason) -> Result<(), Trouble> {
        if let Some(applied) = self.record.applied().await? {
            let (mirror, tip) = (self.mirror.clone(), tip.clone());
            if blocking(move || Ok(mirror.is_rewritten(&applied, &tip)?)).await? {
                tracing::warn!("the branch was rewritten: it no longer contains the revision that runs");
            }
        }
        self.run_to(Kind::Deploy, &Goal::Revision(tip), &reason.to_string()).await
    }

    /// The turn is over: what it met is what is wrong now, or else what keeps the tip from going live.
    /// `resting`: nothing was tried again, so what was wrong still is.
    async fn settle(&self, result: Result<(), Trouble>, resting: bool) {
        let met = match result {
            Ok(()) | Err(Trouble::Newer) => None,
            Err(Trouble::Failure { class, failure }) => Some((class, failure)),
        };
        let standing = self.standing().await;
        if let Err(error) = self.publish_watch().await {
            tracing::error!("{}", report::line(&error));
        }
        self.situation.send_modify(|situation| {
            situation.doing = Doing::Idle;
            situation.turns += 1;
            let before = situation.wrong.take();
            situation.wrong = match met {
                Some(met) => Some(self.wrong(met, before)),
                None if resting => before.or(standing),
                None => standing,
            };
        });
    }

    /// What was given up, or why the tip is not tried again. A turn that leaves it alone meets nothing, and yet
    /// something is wrong.
    pub(super) async fn standing(&self) -> Option<Wrong> {
        if let Ok(Some(degraded)) = self.record.degraded().await {
            let (failure, since) = (given_up(&degraded), degraded.since);
            return Some(Wrong { class: Class::Stalled, failure, since, again_at: None });
        }
        let tip = self.situation.borrow().tip.as_deref().and_then(|tip| tip.parse().ok())?;
        let denial = self.record.denial(&tip).await.ok()??;
        let failure = denial.why.failure()?.clone();
        Some(Wrong { class: Class::Stalled, failure, since: denial.at, again_at: None })
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

/// What a person asked for by name is done in a pause too; everything else waits.
fn by_a_person(decision: &Decision, target: &Target) -> bool {
    matches!((decision, target), (Decision::Restore(_), Target::Pinned(_)))
}

/// While nothing is wrong a poll asks the branch only: what happens to containers is told by the engine's own events.
fn looks_at_containers(reason: &Reason) -> bool {
    *reason != Reason::Poll
}
