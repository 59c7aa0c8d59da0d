//! One turn: look at the branch, decide, run.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::Revision;
use crate::model::class::Class;
use crate::model::desired::Desired;
use crate::model::run::{Entry, Failure, Kind, Outcome, RunId};
use crate::plan::diff::{Given, Plan, Purpose, plan, prune_guard};
use crate::record::{Denial, Hold, Release, Target, Why};
use crate::roll::Journal;
use crate::trigger::Reason;

use super::Reconciler;
use super::apply::Act;
use super::decide::{Decision, Known, decide};
use super::journal::{RunJournal, now};
use super::render::{Rendered, blocking};
use super::situation::{Doing, Wrong};
use super::trouble::Trouble;

/// Looks for something newer while a run works, at most this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Without a wake for so long, a burst of pushes is over; one that lasts longer than this is not waited out.
const QUIET: Duration = Duration::from_millis(250);
const BURST: Duration = Duration::from_secs(3);
const ADDRESSES: &str = "addresses";

/// What one run is to reach.
pub(super) enum Goal<'a> {
    Revision(&'a Revision),
    Release(&'a Release, Purpose),
}

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
        let decision = self.decision(&target, tip.as_ref(), current.as_ref()).await?;
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
    async fn look(&self) -> Result<Revision, Trouble> {
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
        Ok(decide(&known, restored))
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
        self.run_to(Kind::Deploy, &Goal::Revision(revision), reason).await
    }

    /// One run from its beginning to its recorded end.
    pub(super) async fn run_to(&self, kind: Kind, goal: &Goal<'_>, reason: &Reason) -> Result<(), Trouble> {
        let (revision, subject) = match goal {
            Goal::Revision(revision) => ((*revision).clone(), self.subject(revision).await?),
            Goal::Release(release, _) => (release.revision.clone(), release.subject.clone()),
        };
        let run = self.record.begin(kind, &revision, &subject, &reason.to_string(), now()).await?;
        self.situation.send_modify(|situation| {
            if let Doing::Turn { run: doing, .. } = &mut situation.doing {
                *doing = Some(run);
            }
        });
        let newer = CancellationToken::new();
        let result = {
            let work = self.work(run, goal, &subject, &newer);
            tokio::pin!(work);
            tokio::select! {
                result = &mut work => result,
                // Never ends: it only cancels, and the work ends by that.
                () = self.watch_for_newer(kind, &revision, &newer) => work.await,
            }
        };
        self.end(run, kind, &revision, result).await
    }

    async fn work(
        &self,
        run: RunId,
        goal: &Goal<'_>,
        subject: &str,
        newer: &CancellationToken,
    ) -> Result<(), Trouble> {
        let current = self.record.current().await?;
        let before = current.as_ref().map(|release| &release.desired);
        let mut rendered = match goal {
            Goal::Revision(revision) => self.render(revision, before).await?,
            Goal::Release(release, _) => Rendered {
                desired: release.desired.clone(),
                orders: Default::default(),
                missing: BTreeSet::new(),
                warnings: Vec::new(),
            },
        };
        let journal = RunJournal { record: self.record.clone(), run };
        for text in &rendered.warnings {
            journal.write(Entry::Note { text: text.clone() }).await?;
        }
        let purpose = match goal {
            Goal::Release(_, purpose) => *purpose,
            Goal::Revision(_) => Purpose::Release,
        };
        self.ground(&rendered.desired).await?;
        let observed = self.engine.observe(&rendered.desired.stack).await?;
        let plan = self.plan(&rendered.desired, before, &observed, purpose, &rendered.missing).await?;
        self.guard(&plan, &rendered.desired, before).await?;
        journal.write(Entry::Planned { summary: summary(&plan) }).await?;
        self.build(&journal, &plan, &rendered, newer).await?;
        self.ask_nginx(&mut rendered.desired, before).await?;
        let desired = &rendered.desired;
        self.record.keep_intent(run, &plan, desired).await?;
        self.record.set_fact(ADDRESSES, &plan.addresses).await?;
        let act = Act { world: self, journal, desired, before, plan: &plan, run, newer };
        let same_routes = before.is_some_and(|b| b.routes == desired.routes && b.nginx == desired.nginx);
        if plan.is_empty() && same_routes && matches!(goal, Goal::Revision(_)) {
            self.record.unchanged(run, &desired.revision, now()).await?;
            return Ok(());
        }
        act.carry_out(&observed).await?;
        act.retire().await?;
        match goal {
            Goal::Revision(_) => {
                self.record.succeed(run, desired, subject, now()).await?;
            }
            Goal::Release(release, Purpose::Release) => self.record.restored(run, release, now()).await?,
            Goal::Release(_, Purpose::Heal) => {
                act.journal.write(Entry::Ended { outcome: Outcome::Succeeded }).await?;
            }
        }
        Ok(())
    }

    /// Which nginx will read the configuration; the one from before, unless its image is another now.
    async fn ask_nginx(&self, desired: &mut Desired, before: Option<&Desired>) -> Result<(), Trouble> {
        let image = |desired: &Desired| desired.proxy().map(|proxy| proxy.template.image.clone());
        let known =
            before.filter(|before| image(before) == image(desired)).and_then(|before| before.nginx.version);
        if desired.nginx.version.is_none() {
            desired.nginx.version = match (known, self.nginx(desired, None)) {
                (None, Some(nginx)) => Some(nginx.version().await?),
                (known, _) => known,
            };
        }
        Ok(())
    }

    /// Networks, volumes, nginx's folder: making them disturbs nobody, and addresses come from them.
    async fn ground(&self, desired: &Desired) -> Result<(), Trouble> {
        for network in &desired.networks {
            self.engine.ensure_network(&desired.stack, network).await?;
        }
        for volume in &desired.volumes {
            self.engine.ensure_volume(&desired.stack, volume).await?;
        }
        if let Some(folder) = self.proxy_folder(desired) {
            // Mounted read-only into nginx, which may not run as the agent's user.
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| {
                let what = format!("{} cannot be made: {error}", folder.display());
                Trouble::stalled(what, "see `folder` under [nginx] of the configuration")
            })?;
        }
        Ok(())
    }

    /// The plan from what is observed to what is desired, with the addresses that come next.
    pub async fn plan(
        &self,
        desired: &Desired,
        before: Option<&Desired>,
        observed: &crate::model::instance::Observed,
        purpose: Purpose,
        missing_images: &BTreeSet<String>,
    ) -> Result<Plan, Trouble> {
        let addresses = self.record.fact(ADDRESSES).await?.unwrap_or_default();
        let given = Given { desired, before, observed, purpose, missing_images, addresses: &addresses };
        Ok(plan(&given))
    }

    async fn guard(&self, plan: &Plan, desired: &Desired, before: Option<&Desired>) -> Result<(), Trouble> {
        match prune_guard(plan, desired, before) {
            Some(why) if !self.config.prune.allow_empty && !self.record.take_prune_allowance().await? => {
                Err(Trouble::stalled(why, "if that is meant: agent deploy --allow-prune"))
            }
            _ => Ok(()),
        }
    }

    /// Fetches the tip of the branch: its revision and the first line of its message.
    pub async fn fetch_tip(&self) -> Result<(Revision, String), Trouble> {
        let mirror = self.mirror.clone();
        let revision = blocking(move || Ok(mirror.fetch(None)?.revision)).await?;
        let subject = self.subject(&revision).await?;
        Ok((revision, subject))
    }

    async fn subject(&self, revision: &Revision) -> Result<String, Trouble> {
        let (mirror, revision) = (self.mirror.clone(), revision.clone());
        blocking(move || Ok(mirror.subject(&revision)?.message)).await
    }

    /// Writes down how the run ended, if it has not said so itself.
    async fn end(
        &self,
        run: RunId,
        kind: Kind,
        revision: &Revision,
        result: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let outcome = match &result {
            Ok(()) => None,
            Err(Trouble::Newer) => Some(Outcome::Superseded { by: self.newest() }),
            Err(Trouble::Failure { failure, .. }) => Some(Outcome::Failed { reason: failure.clone() }),
        };
        if let Some(outcome) = outcome {
            let journal = RunJournal { record: self.record.clone(), run };
            journal.write(Entry::Ended { outcome }).await?;
        }
        if let Err(Trouble::Failure { class: Class::Stalled, failure }) = &result
            && kind == Kind::Deploy
        {
            let why = Why::Stalled { failure: failure.clone() };
            self.record.deny(Denial { revision: revision.clone(), why, run, at: now() }).await?;
        }
        if result.is_ok() {
            // After a failure what was built is still wanted: the mended revision shares most of it.
            self.prune().await;
        }
        result
    }

    fn newest(&self) -> String {
        self.situation.borrow().tip.clone().unwrap_or_default()
    }

    /// Cancels `newer` when a wake finds that the run's goal is no longer the one to reach.
    async fn watch_for_newer(&self, kind: Kind, revision: &Revision, newer: &CancellationToken) {
        let mut seen = None;
        loop {
            self.wakes.wait().await;
            let pending = self.wakes.pending();
            if pending != seen
                && !newer.is_cancelled()
                && self.outdated(kind, revision).await.unwrap_or(false)
            {
                newer.cancel();
            }
            seen = pending;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn outdated(&self, kind: Kind, revision: &Revision) -> Result<bool, Trouble> {
        match (kind, self.record.target().await?) {
            (_, Target::Down) | (Kind::Deploy | Kind::Heal, Target::Pinned(_)) => Ok(true),
            (Kind::Rollback, Target::Branch) => Ok(true),
            (Kind::Rollback, Target::Pinned(hold)) => {
                Ok(self.record.release(hold.release).await?.revision != *revision)
            }
            (Kind::Deploy, Target::Branch) => Ok(self.look().await? != *revision),
            (Kind::Heal, Target::Branch) => Ok(false),
        }
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
        let current = self.record.current().await?;
        for instance in self.engine.observe(stack).await?.instances {
            let known = current.as_ref().and_then(|release| release.desired.services.get(&instance.service));
            let grace = known.map_or(10, |service| service.template.stop_grace_seconds);
            self.engine.stop(&instance.id, Duration::from_secs(grace.into())).await?;
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

/// The plan in a line.
fn summary(plan: &Plan) -> String {
    let rolls = plan.rolls.iter().map(|roll| format!("{} ({})", roll.service, roll.reason));
    let removals = plan.removals.iter().map(|removal| format!("remove {}", removal.service));
    let acts: Vec<String> = rolls.chain(removals).collect();
    let builds = plan.builds.len();
    let unchanged = plan.unchanged.len();
    if acts.is_empty() {
        return format!("nothing to do, {unchanged} unchanged");
    }
    format!("{builds} to build; {}; {unchanged} unchanged", acts.join("; "))
}
