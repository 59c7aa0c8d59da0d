//! One run: render, plan, build, carry out, and its recorded end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::config::Mode;
use crate::engine::Engine;
use crate::model::Revision;
use crate::model::class::Class;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::run::{Entry, Kind, Outcome, RunId};
use crate::plan::diff::{Given, Plan, Purpose, plan, prune_guard};
use crate::plan::steps::{Step, inseparable, steps};
use crate::record::{Denial, Live, Release, Target, Why};
use crate::roll::{self, Journal};
use crate::trigger::Reason;

use super::Reconciler;
use super::apply::Act;
use super::journal::{RunJournal, now};
use super::render::{Rendered, blocking};
use super::situation::Doing;
use super::trouble::Trouble;

const ADDRESSES: &str = "addresses";

/// What one run is to reach.
pub(super) enum Goal<'a> {
    Revision(&'a Revision),
    /// One that was live before.
    Release(&'a Release),
    /// The current one, mended.
    Mended(&'a Release),
}

/// What a run that went well was about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Changed,
    /// All was so already.
    Unchanged,
}

/// A run that is ready to touch containers.
struct Ready {
    desired: Desired,
    plan: Plan,
    observed: Observed,
}

impl<E: Engine> Reconciler<E> {
    /// One run from its beginning to its recorded end.
    pub(super) async fn run_to(&self, kind: Kind, goal: &Goal<'_>, reason: &str) -> Result<(), Trouble> {
        let (revision, subject) = match goal {
            Goal::Revision(revision) => ((*revision).clone(), self.subject(revision).await?),
            Goal::Release(release) | Goal::Mended(release) => {
                (release.revision.clone(), release.subject.clone())
            }
        };
        let run = self.record.begin(kind, &revision, &subject, reason, now()).await?;
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
                () = self.gap.hurries(&newer) => work.await,
            }
        }?;
        self.end(run, kind, &revision, result).await
    }

    /// Makes the goal so (`Ok(Ok)`), or leaves all as it was (`Ok(Err)`, with why). The outer error: the run is
    /// somewhere between, and the next turn recovers it before it does anything else.
    async fn work(
        &self,
        run: RunId,
        goal: &Goal<'_>,
        subject: &str,
        newer: &CancellationToken,
    ) -> Result<Result<Reached, Trouble>, Trouble> {
        let current = self.record.current().await?;
        let before = current.as_ref().map(|release| &release.desired);
        let journal = self.journal(run);
        let Ready { desired, plan, observed } = match self.prepare(&journal, goal, before, newer).await {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Ok(Reached::Unchanged)),
            Err(trouble) => return Ok(Err(trouble)),
        };
        let steps = self.steps(&journal, plan, desired, before).await?;
        let (mut observed, mut touched) = (Some(observed), BTreeSet::new());
        let asked = before.filter(|_| matches!(goal, Goal::Revision(_)));
        for (index, step) in steps.iter().enumerate() {
            let before = index.checked_sub(1).map(|done| &steps[done].desired).or(before);
            let act = Act {
                world: self,
                journal: self.journal(run),
                desired: &step.desired,
                before,
                plan: &step.plan,
                run,
                newer,
                waiting: Default::default(),
                asked,
                cut_off: None,
            };
            touched.append(&mut act.touched());
            let live = match goal {
                _ if index + 1 < steps.len() => Live::Unreleased,
                Goal::Revision(_) => {
                    let watch = self.watched(std::mem::take(&mut touched));
                    Live::New { desired: &step.desired, subject, watch }
                }
                Goal::Release(release) => Live::Again(release),
                Goal::Mended(_) => Live::Unreleased,
            };
            let observed = match observed.take() {
                Some(observed) => observed,
                None => self.engine.observe(&step.desired.stack).await?,
            };
            if steps.len() > 1 {
                let (number, of, services) = (index + 1, steps.len(), step.services.clone());
                act.journal.write(Entry::Step { number, of, services }).await?;
            }
            if let Err(trouble) = act.check_and_carry_out(&observed, live).await? {
                // What the steps before have changed is mended to the release that is still the current one.
                return Ok(Err(trouble));
            }
            self.publish_watch().await?;
            act.retire().await?;
        }
        journal.write(Entry::Ended { outcome: Outcome::Succeeded }).await?;
        Ok(Ok(Reached::Changed))
    }

    /// How the plan is carried out: at once, or service after service where the configuration wants that.
    async fn steps(
        &self,
        journal: &RunJournal,
        plan: Plan,
        desired: Desired,
        before: Option<&Desired>,
    ) -> Result<Vec<Step>, Trouble> {
        let replaced = plan.rolls.iter().filter(|roll| !roll.old.is_empty()).count();
        if self.config.roll.mode == Mode::Rolling && replaced > 1 {
            let Some(why) = inseparable(&plan, &desired, before) else {
                return Ok(steps(&plan, &desired, before));
            };
            let text = format!("{why}, so all services change together");
            journal.write(Entry::Note { text }).await?;
        }
        Ok(vec![Step { services: Vec::new(), plan, desired }])
    }

    /// Everything before the first container is touched. `None` when the revision asks for nothing new.
    async fn prepare(
        &self,
        journal: &RunJournal,
        goal: &Goal<'_>,
        before: Option<&Desired>,
        newer: &CancellationToken,
    ) -> Result<Option<Ready>, Trouble> {
        let mut rendered = match goal {
            Goal::Revision(revision) => self.render(revision, before).await?,
            Goal::Release(release) | Goal::Mended(release) => Rendered {
                desired: self.on_this_machine(&release.desired).await?,
                orders: Default::default(),
                missing: BTreeSet::new(),
                warnings: Vec::new(),
            },
        };
        for text in &rendered.warnings {
            journal.write(Entry::Note { text: text.clone() }).await?;
        }
        if let Some(text) = self.unwatched(&rendered.desired).filter(|_| matches!(goal, Goal::Revision(_))) {
            journal.write(Entry::Note { text: text.to_owned() }).await?;
        }
        let purpose = match goal {
            Goal::Revision(_) => Purpose::Release,
            Goal::Release(_) => Purpose::Again,
            Goal::Mended(_) => self.mending(),
        };
        self.ground(&rendered.desired).await?;
        let observed = self.engine.observe(&rendered.desired.stack).await?;
        let plan = self.plan(&rendered.desired, before, &observed, purpose, &rendered.missing).await?;
        // It guards against mistakes in the repository. The way back leads to what was live already.
        let by_word = match goal {
            Goal::Revision(_) => self.guard(&rendered.desired, before).await?,
            _ => false,
        };
        journal.write(Entry::Planned { summary: summary(&plan) }).await?;
        self.build(journal, &plan, &rendered, newer).await?;
        roll::prepare(&rendered.desired, &plan).await?;
        self.ask_nginx(&mut rendered.desired, before).await?;
        let desired = rendered.desired;
        self.record.keep_intent(journal.run, &plan, &desired).await?;
        self.record.set_fact(ADDRESSES, &plan.addresses).await?;
        // Only now: what could not be built yet is tried again.
        if by_word {
            self.record.use_prune_allowance().await?;
        }
        let same = before.is_some_and(|before| before.same_rules(&desired));
        if plan.is_empty() && same && matches!(goal, Goal::Revision(_)) {
            self.record.unchanged(journal.run, &desired.revision, now()).await?;
            return Ok(None);
        }
        Ok(Some(Ready { desired, plan, observed }))
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
        observed: &Observed,
        purpose: Purpose,
        missing_images: &BTreeSet<String>,
    ) -> Result<Plan, Trouble> {
        let addresses = self.record.fact(ADDRESSES).await?.unwrap_or_default();
        let shown = shown(desired);
        let given = Given {
            desired,
            before,
            observed,
            purpose,
            missing_images,
            addresses: &addresses,
            shown: &shown,
        };
        Ok(plan(&given))
    }

    /// Whether only a person's word lets the plan be carried out.
    async fn guard(&self, desired: &Desired, before: Option<&Desired>) -> Result<bool, Trouble> {
        let Some(why) = prune_guard(desired, before).filter(|_| !self.config.prune.allow_empty) else {
            return Ok(false);
        };
        match self.record.prune_allowed(now()).await? {
            true => Ok(true),
            false => Err(Trouble::stalled(why, "if that is meant: agent deploy --allow-prune")),
        }
    }

    /// Fetches the tip of the branch: its revision and the first line of its message.
    pub async fn fetch_tip(&self) -> Result<(Revision, String), Trouble> {
        let mirror = self.mirror.clone();
        let revision = blocking(move || Ok(mirror.fetch(None)?.revision)).await?;
        let subject = self.subject(&revision).await?;
        Ok((revision, subject))
    }

    pub(super) async fn subject(&self, revision: &Revision) -> Result<String, Trouble> {
        let (mirror, revision) = (self.mirror.clone(), revision.clone());
        blocking(move || Ok(mirror.subject(&revision)?.message)).await
    }

    /// Writes down how the run ended, if it has not said so itself.
    async fn end(
        &self,
        run: RunId,
        kind: Kind,
        revision: &Revision,
        result: Result<Reached, Trouble>,
    ) -> Result<(), Trouble> {
        let outcome = match &result {
            Ok(_) => None,
            Err(Trouble::Newer) if self.gap.is_hurried() => Some(Outcome::Interrupted),
            Err(Trouble::Newer) => Some(Outcome::Superseded { by: self.newest() }),
            Err(Trouble::Failure { failure, .. }) => Some(Outcome::Failed { reason: failure.clone() }),
        };
        if let Some(outcome) = outcome {
            let journal = self.journal(run);
            journal.write(Entry::Ended { outcome }).await?;
        }
        match (&result, kind) {
            (Err(Trouble::Failure { class: Class::Stalled, failure }), Kind::Deploy) => {
                let why = Why::Stalled { failure: failure.clone() };
                self.record.deny(Denial { revision: revision.clone(), why, run, at: now() }).await?;
            }
            // What turned bad stays, and is mended as far as it can be, until somebody pushes something better; and what
            // cannot come back after the stack was down leaves it to the branch to bring something.
            (Err(Trouble::Failure { class: Class::Stalled, .. }), Kind::Revert | Kind::Rollback) => {
                if let back @ Target::Back { .. } = self.record.target().await?
                    && self.record.exchange_target(&back, &Target::Branch).await?
                {
                    // In memory the wake holds even when it cannot be written.
                    let _ = self.wakes.wake(Reason::Watch).await;
                }
            }
            _ => {}
        }
        // After a failure what was built is still wanted: the mended revision shares most of it.
        let reached = result?;
        self.prune(kind, reached == Reached::Changed).await;
        Ok(())
    }

    fn newest(&self) -> String {
        self.situation.borrow().tip.clone().unwrap_or_default()
    }
}

/// Which content the folders show that change under running instances.
fn shown(desired: &Desired) -> BTreeMap<String, String> {
    let places = desired.services.values().flat_map(|service| &service.in_place);
    let shown = places.filter_map(|place| {
        let name = roll::shown(Path::new(&place.folder))?;
        let content = Path::new(&place.content).with_file_name(name);
        Some((place.folder.clone(), content.to_string_lossy().into_owned()))
    });
    shown.collect()
}

/// The plan in a line.
fn summary(plan: &Plan) -> String {
    let rolls = plan.rolls.iter().map(|roll| format!("{} ({})", roll.service, roll.reason));
    let removals = plan.removals.iter().map(|removal| format!("remove {}", removal.service));
    let refreshes = plan
        .refreshes
        .iter()
        .map(|refresh| format!("new content in {} of {}", refresh.what.target, refresh.service));
    let acts: Vec<String> = rolls.chain(removals).chain(refreshes).collect();
    let builds = plan.builds.len();
    let unchanged = plan.unchanged.len();
    if acts.is_empty() {
        return format!("nothing to do, {unchanged} unchanged");
    }
    format!("{builds} to build; {}; {unchanged} unchanged", acts.join("; "))
}
