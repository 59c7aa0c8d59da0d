//! Carrying out a plan: build · check · bring up · switch · retire · record, and the way back from each.

use std::collections::BTreeSet;
use std::io;

use tokio_util::sync::CancellationToken;

use crate::build::{Builds, Job, build_all};
use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::route::Route;
use crate::model::run::{Entry, RunId};
use crate::plan::diff::Plan;
use crate::plan::{nginx, upstreams};
use crate::record::Live;
use crate::roll::{self, Journal, Pace, Rolling};
use crate::route::{self, Nginx};

use super::Reconciler;
use super::journal::RunJournal;
use super::render::Rendered;
use super::trouble::Trouble;
use super::waiting::Waiting;

/// One run in progress.
pub(super) struct Act<'a, E> {
    pub(super) world: &'a Reconciler<E>,
    pub(super) journal: RunJournal,
    pub(super) desired: &'a Desired,
    pub(super) before: Option<&'a Desired>,
    pub(super) plan: &'a Plan,
    pub(super) run: RunId,
    pub(super) newer: &'a CancellationToken,
    pub(super) waiting: Waiting,
    /// What was live before the run, if what stays is to be asked what is asked of it now.
    pub(super) asked: Option<&'a Desired>,
    /// When its way back began, if the agent that began the run is gone.
    pub(super) cut_off: Option<i64>,
}

impl<E: Engine> Act<'_, E> {
    /// Makes the plan so (`Ok(Ok)`), or puts everything back (`Ok(Err)`, with why). The outer error: it is
    /// somewhere between, and the run is to be recovered.
    async fn carry_out(&self, observed: &Observed, live: Live<'_>) -> Result<Result<(), Trouble>, Trouble> {
        let before = self.world.live_nginx();
        let Err(mut trouble) = self.switch_over(observed, live).await else { return Ok(Ok(())) };
        let (reason, failed) = match &trouble {
            Trouble::Newer if self.world.gap.is_hurried() => ("the agent is about to end".to_owned(), None),
            Trouble::Newer => ("something newer is to be reached".to_owned(), None),
            Trouble::Failure { failure, .. } => (failure.message.clone(), failure.service.clone()),
        };
        // A log that cannot be written (a full disk) must not keep the old release from coming back.
        let written = self.journal.write(Entry::Reverting { reason }).await;
        let back = self.put_back(before, failed.as_deref()).await;
        written?;
        let kept = back?;
        if let Trouble::Failure { failure, .. } = &mut trouble
            && kept
        {
            let hint = failure.hint.take().map(|hint| format!("{hint}; ")).unwrap_or_default();
            failure.hint = Some(format!("{hint}all it wrote: agent logs --failed"));
        }
        Ok(Err(trouble))
    }

    /// The same, if nginx accepts what it would be given.
    pub(super) async fn check_and_carry_out(
        &self,
        observed: &Observed,
        live: Live<'_>,
    ) -> Result<Result<(), Trouble>, Trouble> {
        match self.check(observed).await {
            Ok(()) => self.carry_out(observed, live).await,
            Err(trouble) => Ok(Err(trouble)),
        }
    }

    /// nginx reads the configuration that would go live, before any container is touched.
    async fn check(&self, observed: &Observed) -> Result<(), Trouble> {
        if self.desired.proxy().is_none() {
            return Ok(());
        }
        let upstreams = upstreams::planned(self.desired, self.plan, observed);
        let text = self.text(&upstreams, observed)?;
        let old = self.world.proxy_instance(self.desired, observed, |_| false);
        // A new nginx reads it with its own program: the old one's opinion would be beside the point.
        let running = old.filter(|_| !self.proxy_rolls());
        self.with_nginx(running, async |nginx: Nginx<'_, E>| Ok(nginx.check(&text).await?)).await
    }

    async fn switch_over(&self, observed: &Observed, live: Live<'_>) -> Result<(), Trouble> {
        let rolling = self.rolling();
        if let Some(before) = self.asked {
            roll::ask_who_stays(&rolling, observed, before, false).await?;
        }
        roll::bring_up(&rolling, observed).await?;
        self.journal.write(Entry::Switching).await?;
        roll::refresh(&rolling).await?;
        let seen = self.world.engine.observe(&self.desired.stack).await?;
        // No request may come through nginx to a new instance that calls an old one.
        rolling.lead_to_new(&seen).await;
        self.route(&rolling, observed, &seen).await?;
        if let Some(before) = self.asked {
            roll::ask_who_stays(&rolling, &seen, before, true).await?;
        }
        self.journal.switched(live).await?;
        self.world.gap.end();
        self.world.whereabouts.live(self.desired);
        Ok(())
    }

    /// Retires what the plan replaces. The release is live: nothing here undoes it.
    pub(super) async fn retire(&self) -> Result<(), Trouble> {
        Ok(roll::retire(&self.rolling(), self.world.linger(self.desired)).await?)
    }

    /// Undoes what the log says has been done; nginx first, so that no request meets an instance that goes.
    ///
    /// `keep`: a service whose failed instance is kept with its logs. Returns whether there was one.
    pub(super) async fn put_back(
        &self,
        nginx_before: Option<String>,
        keep: Option<&str>,
    ) -> Result<bool, Trouble> {
        // Before nginx, which may read what was exchanged. What fails here must not keep the old ones from coming back.
        let content = roll::put_back_content(&self.rolling()).await;
        // Whoever waits is refused with this run, and could wait for longer.
        let hurried = || self.world.gap.is_hurried();
        let observed = roll::observe_again(&self.world.engine, &self.desired.stack, hurried).await?;
        // Before nginx: what it sends requests to again must not call what goes, nor may nginx itself look names up there.
        self.rolling().lead_to_old(&observed).await;
        // Without a record of what was live, what was in nginx's folder was live all the same.
        let before = self.before.unwrap_or(self.desired);
        let back = match nginx_before {
            Some(text) if before.proxy().is_some() && self.began_to_switch().await? => Some((text, before)),
            _ => None,
        };
        self.hold_again(&observed, back.as_ref().map(|(text, _)| text.as_str())).await;
        if let Some((text, before)) = back {
            let running = self.world.proxy_instance(before, &observed, |run| run == self.run);
            if let Some(nginx) = self.world.nginx(before, running) {
                Nginx { away: self.away(), ..nginx }.switch(&text).await?;
            }
        }
        let kept = roll::revert(&self.rolling(), keep).await;
        // Whatever could not be put back: what is there again is found again.
        let led = self.let_back().await;
        let kept = kept?;
        self.world.gap.end();
        led?;
        content?;
        Ok(kept)
    }

    /// Until then nginx was not touched, and one that does not answer must not keep the old ones from coming back.
    async fn began_to_switch(&self) -> Result<bool, Trouble> {
        let log = self.world.record.log(self.run, 0).await?;
        let this_step = log.iter().rev().take_while(|logged| !matches!(logged.entry, Entry::Step { .. }));
        Ok(this_step.into_iter().any(|logged| matches!(logged.entry, Entry::Switching)))
    }

    /// When this returns, requests go to the new instances, and so do those that have waited. `observed` is from before
    /// the run, `seen` from now.
    async fn route(
        &self,
        rolling: &Rolling<'_, E, RunJournal>,
        observed: &Observed,
        seen: &Observed,
    ) -> Result<(), Trouble> {
        let retired: BTreeSet<&str> = self.retired();
        let upstreams = upstreams::observed(self.desired, seen, |id| retired.contains(id));
        if self.desired.proxy().is_none() {
            self.let_on(&upstreams).await;
            return Ok(());
        }
        let text = self.text(&upstreams, seen)?;
        if self.proxy_rolls() {
            // The file first: the new nginx starts with it.
            self.with_nginx(None, async |nginx: Nginx<'_, E>| Ok(nginx.switch(&text).await.map(drop)?))
                .await?;
            // The old one ends when it has answered what it was asked, and so not before these.
            self.let_on(&upstreams).await;
            roll::bring_up_proxy(rolling).await?;
        }
        let seen = if self.proxy_rolls() {
            self.world.engine.observe(&self.desired.stack).await?
        } else {
            observed.clone()
        };
        let running =
            self.world.proxy_instance(self.desired, &seen, |run| self.proxy_rolls() && run != self.run);
        let there = nginx::links(&text);
        // Old workers may still go by links that only the old text has, and the way back leads to what is away.
        let away =
            self.away().into_iter().filter(|at| !there.values().flatten().any(|to| to == at)).collect();
        let edited = self
            .with_nginx(running.clone(), async |nginx: Nginx<'_, E>| {
                Ok(Nginx { away, ..nginx }.switch(&text).await?.edited)
            })
            .await?;
        // A route may answer late, and whoever has waited for another service has waited long enough.
        self.let_on(&upstreams).await;
        if let Some(path) = edited {
            let text = format!("somebody had edited nginx.conf by hand: kept as {}", path.display());
            self.journal.write(Entry::Note { text }).await?;
        }
        let routes = self.changed_routes();
        self.with_nginx(running, async |nginx: Nginx<'_, E>| Ok(nginx.reach(&routes).await?)).await
    }

    /// Routes that lead somewhere new: only these are asked, the others answer as before.
    fn changed_routes(&self) -> Vec<Route> {
        let rolled = |route: &Route| self.plan.rolls.iter().any(|roll| roll.service == route.service);
        let known = |route: &Route| {
            self.before.is_some_and(|before| before.routes.iter().any(|known| known.leads_as(route)))
        };
        self.desired.routes.iter().filter(|route| rolled(route) || !known(route)).cloned().collect()
    }

    /// The services that are not what they were, by themselves or by their routes.
    pub(super) fn touched(&self) -> BTreeSet<String> {
        let rolled = self.plan.rolls.iter().map(|roll| roll.service.clone());
        let refreshed = self.plan.refreshes.iter().map(|refresh| refresh.service.clone());
        rolled.chain(refreshed).chain(self.changed_routes().into_iter().map(|route| route.service)).collect()
    }

    fn text(&self, upstreams: &nginx::Upstreams, observed: &Observed) -> Result<String, Trouble> {
        let text = nginx::text(self.desired, upstreams, observed);
        text.map_err(|problem| vec![problem].into())
    }

    async fn with_nginx<T>(
        &self,
        running: Option<route::Running>,
        act: impl AsyncFnOnce(Nginx<'_, E>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        match self.world.nginx(self.desired, running) {
            Some(nginx) => act(nginx).await,
            None => {
                Err(Trouble::stalled("the stack has routes but no nginx", "label one service agent.nginx"))
            }
        }
    }

    fn proxy_rolls(&self) -> bool {
        let proxy = self.desired.proxy().map(|proxy| proxy.template.service.as_str());
        self.plan.rolls.iter().any(|roll| Some(roll.service.as_str()) == proxy && !roll.new.is_empty())
    }

    fn retired(&self) -> BTreeSet<&str> {
        let rolled = self.plan.rolls.iter().flat_map(|roll| &roll.old);
        let removed = self.plan.removals.iter().flat_map(|removal| &removal.old);
        rolled.chain(removed).map(|old| old.id.0.as_str()).collect()
    }

    fn rolling(&self) -> Rolling<'_, E, RunJournal> {
        let roll = &self.world.config.roll;
        Rolling {
            engine: &self.world.engine,
            journal: &self.journal,
            hold: self,
            desired: self.desired,
            before: self.before,
            plan: self.plan,
            run: self.run,
            pace: Pace {
                probe_interval: roll.probe_interval,
                probe_timeout: roll.probe_timeout,
                drain: roll.drain,
                keep_removed: !roll.watch.is_zero(),
            },
            newer: self.newer,
            cut_off: self.cut_off,
        }
    }
}

impl<E: Engine> Reconciler<E> {
    /// Builds what the plan lists. Nothing that runs is touched.
    pub(super) async fn build(
        &self,
        journal: &RunJournal,
        plan: &Plan,
        rendered: &Rendered,
        newer: &CancellationToken,
    ) -> Result<(), Trouble> {
        let mut jobs = Vec::new();
        for build in &plan.builds {
            let Some((order, context)) = rendered.orders.get(&build.tag) else { continue };
            journal.write(Entry::Building { tag: build.tag.clone() }).await?;
            let mut order = order.clone();
            order.labels.insert("agent.revision".into(), plan.revision.to_string());
            let context = context.clone();
            jobs.push(Job {
                order,
                context: Box::new(move |sink: &mut dyn io::Write| {
                    context.write_tar(sink).map(drop).map_err(io::Error::other)
                }),
            });
        }
        if jobs.is_empty() {
            return Ok(());
        }
        self.disk_floor().await?;
        let how = Builds {
            parallel: self.config.build.parallel,
            timeout: self.config.build.timeout,
            logs: self.logs_of(journal.run),
        };
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        let report = |tag: &str, time: std::time::Duration| {
            // The receiver lives as long as the builds.
            let _ = done.send(Entry::Built { tag: tag.to_owned(), millis: time.as_millis() as u64 });
        };
        let builds = async {
            let built = build_all(&self.engine, jobs, &how, report).await;
            built.map(drop).map_err(Trouble::from)
        };
        let built = tokio::select! {
            built = builds => built,
            () = newer.cancelled() => Err(Trouble::Newer),
        };
        finished.close();
        while let Some(entry) = finished.recv().await {
            journal.write(entry).await?;
        }
        built
    }
}

#[cfg(test)]
mod tests;
