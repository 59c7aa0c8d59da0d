//! Keeping the current release as it is: what is missing is brought back, within bounds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::run::Kind;
use crate::plan::diff::Purpose;
use crate::plan::{nginx, upstreams};
use crate::record::Release;
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
        let plan = self.plan(desired, Some(desired), &observed, Purpose::Heal, &BTreeSet::new()).await?;
        self.situation.send_if_modified(|situation| {
            let changed = situation.drift != plan.drift;
            situation.drift.clone_from(&plan.drift);
            changed
        });
        let asked = matches!(reason, Reason::Boot | Reason::Cli);
        if plan.is_empty() && !(asked && self.nginx_is_behind(desired, &observed)?) {
            return Ok(());
        }
        let recent = self.record.runs(MOST).await?;
        let recent = recent.iter().filter(|run| run.kind == Kind::Heal && now() - run.started_at < WITHIN);
        if recent.count() >= MOST {
            let what = format!(
                "degraded: mended {MOST} times in 5 minutes and broken again: {}",
                plan.rolls.first().map_or("nginx's configuration", |roll| &roll.service)
            );
            return Err(Trouble::waiting(what, "look at `agent logs`; a rollback or a new commit may help"));
        }
        self.run_to(Kind::Heal, &Goal::Release(release, Purpose::Heal), reason).await
    }

    /// Whether nginx has another configuration than it would get now: its file is gone, or the agent's own
    /// configuration has changed since. What a person edited stays until the next release.
    fn nginx_is_behind(&self, desired: &Desired, observed: &Observed) -> Result<bool, Trouble> {
        if desired.proxy().is_none() {
            return Ok(false);
        }
        let upstreams = upstreams::observed(desired, observed, |_| false);
        let text = nginx::render(&desired.routes, &upstreams, &desired.nginx);
        let text = text.map_err(|problem| vec![problem])?;
        let live = self.live_nginx().unwrap_or_default();
        let edited = !live.is_empty() && nginx::is_edited(&live);
        Ok(!edited && nginx::generation(&live) != nginx::generation(&text))
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
