//! Crashes of a watched release: what the watch forgives, which is written down, and what the loop does when it meets one.

use std::sync::LazyLock;
use std::time::Duration;

use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::plan::watch::{Began, Begins, Forgiven, Met};
use crate::record::{Target, Watch};
use crate::report;
use crate::trigger::Reason;

use super::Reconciler;
use super::journal::now;
use super::trouble::Trouble;
use super::watching::{Bad, watched};

/// The watch takes a look within this time, unless the machine is busy.
const LOOKS_WITHIN: Duration = Duration::from_secs(5);
const MET: &str = "met";

/// Another one each time the machine is started.
static BOOT: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());

impl<E: Engine> Reconciler<E> {
    /// Takes up what an earlier agent has met. From here on releases are watched beside the loop.
    pub async fn recall(&self) {
        let met = self.record.fact(MET).await.unwrap_or_else(|error| {
            tracing::error!("the watch: {}", report::line(&error));
            None
        });
        self.met.send_replace(Some(met.unwrap_or_default()));
    }

    pub(super) fn began(&self, watch: &Watch) -> Began {
        self.met.borrow().as_ref().map_or(Began::Now, |met| met.began(watch.since, &BOOT))
    }

    /// Takes one more look, and says what is forgiven by now. That seldom changes, and is written down when it does.
    pub(super) async fn forgive(&self, watch: &Watch, observed: &Observed, begins: &Begins) -> Forgiven {
        let before = self.met.borrow().clone();
        let mut forgiven = before.as_ref().map(|met| met.forgiven.clone()).unwrap_or_default();
        forgiven.look(observed, begins);
        let met = Some(Met { since: watch.since, boot: BOOT.clone(), forgiven: forgiven.clone() });
        self.met.send_replace(met.clone());
        if met != before
            && let Err(error) = self.record.set_fact(MET, &met).await
        {
            tracing::error!("the watch: {}", report::line(&error));
        }
        forgiven
    }

    /// Takes a crash of a watched release for what it is, rather than mend it. Says whether it does, or must wait.
    pub(super) async fn crashed_under_watch(
        &self,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<bool, Trouble> {
        let Some(watch) = self.record.watch().await?.filter(|watch| watch.until > now()) else {
            return Ok(false);
        };
        let observed = &self.without_others(&watch, observed.clone()).await?;
        let crash = |met: Option<&Met>| {
            watched(&watch, desired, observed).find_map(|(service, instance)| {
                let what =
                    met.map_or(&Forgiven::default(), |met| &met.forgiven).crashed(service, instance)?;
                Some(Bad { service: instance.service.clone(), what })
            })
        };
        let mut looks = self.met.subscribe();
        let met = looks.borrow_and_update().clone();
        let bad = match &met {
            // Nobody looks where no daemon runs.
            None => crash(self.record.fact(MET).await?.as_ref()),
            Some(_) if crash(met.as_ref()).is_none() => None,
            // Whether it is forgiven is known to the watch, which sees what else goes on.
            Some(_) if tokio::time::timeout(LOOKS_WITHIN, looks.changed()).await.is_ok() => {
                crash(looks.borrow().as_ref())
            }
            Some(_) => {
                // In memory the wake holds even when it cannot be written.
                let _ = self.wakes.wake(Reason::Watch).await;
                return Ok(true);
            }
        };
        let Some(bad) = bad else { return Ok(false) };
        let gives_way = self.turned_bad(&watch, bad).await?;
        // The watch may have been faster.
        Ok(gives_way || matches!(self.record.target().await?, Target::Back { .. }))
    }
}
