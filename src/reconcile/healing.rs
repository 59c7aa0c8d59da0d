//! Keeping the current release as it is: what is missing is brought back, within bounds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::class::Class;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::run::{Failure, Kind};
use crate::plan::diff::Purpose;
use crate::plan::{nginx, upstreams};
use crate::record::{Degraded, Release};
use crate::roll;
use crate::route::LIVE;
use crate::trigger::Reason;

use super::Reconciler;
use super::journal::now;
use super::run::Goal;
use super::trouble::Trouble;

const MOST: usize = 5;
const WITHIN: i64 = 5 * 60 * 1000;
/// Events can be missed while the engine restarts.
const SLOW: Duration = Duration::from_secs(300);
const RECONNECT: Duration = Duration::from_secs(1);

impl<E: Engine> Reconciler<E> {
    /// Mends the release if something of it is missing.
    pub(super) async fn heal(&self, release: &Release, reason: &Reason) -> Result<(), Trouble> {
        let desired = &self.on_this_machine(&release.desired).await?;
        let observed = self.engine.observe(&desired.stack).await?;
        // A run that could not do it at its end.
        roll::leave_callers(&observed).await;
        let mut plan = self.plan(desired, Some(desired), &observed, self.mending(), &BTreeSet::new()).await?;
        if self.is_edited(desired) && !self.config.drift.self_heal {
            plan.drift.push("nginx.conf was edited by hand".to_owned());
        }
        self.situation.send_if_modified(|situation| {
            let changed = situation.drift != plan.drift;
            situation.drift.clone_from(&plan.drift);
            changed
        });
        if self.crashed_under_watch(desired, &observed).await? {
            return Ok(());
        }
        self.remove_gone(&observed).await?;
        let asked = matches!(reason, Reason::Boot | Reason::Cli);
        if plan.is_empty() && !self.nginx_is_behind(desired, &observed, asked)? {
            return Ok(());
        }
        let services: Vec<String> = plan.rolls.iter().map(|roll| roll.service.clone()).collect();
        if let Some(degraded) = self.beyond_mending(services).await? {
            return Err(Trouble::Failure { class: Class::Stalled, failure: given_up(&degraded) });
        }
        self.run_to(Kind::Heal, &Goal::Mended(release), &reason.to_string()).await
    }

    /// What a healing run plans for: to undo what a person did is to apply the release once more.
    pub(super) fn mending(&self) -> Purpose {
        if self.config.drift.self_heal { Purpose::Again } else { Purpose::Heal }
    }

    /// Gives up on a release that breaks as often as it is mended; only something new to reach, or a person's
    /// word, ends that.
    async fn beyond_mending(&self, services: Vec<String>) -> Result<Option<Degraded>, Trouble> {
        if let Some(degraded) = self.record.degraded().await? {
            return Ok(Some(degraded));
        }
        let (runs, anew_after) = (self.record.runs(MOST).await?, self.record.anew_after().await?);
        let tries = runs.iter().filter(|run| run.kind == Kind::Heal && run.id > anew_after);
        if tries.filter(|run| (0..WITHIN).contains(&(now() - run.started_at))).count() < MOST {
            return Ok(None);
        }
        let degraded = Degraded { since: now(), services };
        self.record.degrade(&degraded).await?;
        Ok(Some(degraded))
    }

    /// Whether nginx has another configuration than it would get now: its file is gone, or the agent's own
    /// configuration has changed since. What a person edited stays until the next release, unless that is not wanted.
    /// If nobody `asked`, only instances count that have other addresses by now: the engine gives them where the agent
    /// cannot.
    fn nginx_is_behind(&self, desired: &Desired, observed: &Observed, asked: bool) -> Result<bool, Trouble> {
        if desired.proxy().is_none() {
            return Ok(false);
        }
        let upstreams = upstreams::observed(desired, observed, |_| false);
        let text = nginx::text(desired, &upstreams, observed);
        let text = text.map_err(|problem| vec![problem])?;
        let live = self.live_text(desired).unwrap_or_default();
        if self.is_edited(desired) {
            return Ok(self.config.drift.self_heal);
        }
        let moved = nginx::links(&live) != nginx::links(&text);
        Ok(moved || asked && nginx::generation(&live) != nginx::generation(&text))
    }

    /// What the nginx of this release reads.
    fn live_text(&self, desired: &Desired) -> Option<String> {
        std::fs::read_to_string(self.proxy_folder(desired)?.join(LIVE)).ok()
    }

    fn is_edited(&self, desired: &Desired) -> bool {
        self.live_text(desired).is_some_and(|live| !live.is_empty() && nginx::is_edited(&live))
    }

    /// Wakes the loop when something happens to the stack's containers, and slowly by itself.
    pub async fn watch_containers(&self, stop: CancellationToken) {
        let watching = async {
            loop {
                let mut happenings = self.engine.happenings(&self.config.stack.name);
                while let Some(Ok(happening)) = happenings.next().await {
                    self.whereabouts.look_again();
                    if matches!(happening.what.as_str(), "die" | "destroy" | "start") {
                        self.drifted().await;
                    }
                }
                tokio::time::sleep(RECONNECT).await;
                self.drifted().await;
            }
        };
        let slowly = async {
            loop {
                tokio::time::sleep(SLOW).await;
                self.drifted().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
            () = slowly => {}
        }
    }

    async fn drifted(&self) {
        // In memory the wake holds even when it cannot be written.
        let _ = self.wakes.wake(Reason::Drift).await;
    }
}

/// What a degraded release is said to suffer from.
pub fn given_up(degraded: &Degraded) -> Failure {
    let services = degraded.services.join(", ");
    Failure {
        message: format!("mending was begun {MOST} times in 5 minutes, so it is left as it is: {services}"),
        hint: Some("a new commit or a rollback helps; when it is mended by hand: agent retry".into()),
        ..Failure::default()
    }
}
