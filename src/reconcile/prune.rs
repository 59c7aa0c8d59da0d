//! What no release needs any more goes: old runs with their logs, old releases, their images. Only what carries
//! the stack's own name is ever looked at.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::model::run::{ReleaseId, RunId};
use crate::record::{Hold, Target};

use super::Reconciler;
use super::trouble::Trouble;

impl<E: Engine> Reconciler<E> {
    /// Failing to clean up never fails a run: it is tried again after the next one.
    pub(super) async fn prune(&self) {
        if let Err(Trouble::Failure { failure, .. }) = self.try_prune().await {
            tracing::warn!("cleaning up: {}", failure.message);
        }
    }

    async fn try_prune(&self) -> Result<(), Trouble> {
        let spared: Option<ReleaseId> = match self.record.target().await? {
            Target::Pinned(Hold { release, .. }) | Target::Back { release } => Some(release),
            Target::Branch | Target::Down => self.record.watch().await?.map(|watch| watch.back_to),
        };
        self.record.prune_releases(self.config.history.keep, spared).await?;
        for run in self.record.prune_runs(self.config.history.runs).await? {
            self.forget_logs(run);
        }
        self.forget_old_logs();
        let releases = self.record.releases().await?;
        let needed: BTreeSet<&str> = releases
            .iter()
            .flat_map(|release| release.desired.services.values())
            .map(|service| service.template.image.name.as_str())
            .collect();
        let prefix = format!("{}-", self.config.stack.name);
        for name in self.engine.stack_images(&self.config.stack.name).await? {
            if name.starts_with(&prefix) && !needed.contains(name.as_str()) {
                tracing::info!(image = name, "no release needs it");
                self.engine.untag(&name).await?;
            }
        }
        Ok(())
    }

    fn forget_old_logs(&self) {
        let Ok(folders) = std::fs::read_dir(self.config.state.join("runs")) else { return };
        for folder in folders.flatten() {
            let age = folder.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > self.config.history.logs) {
                let _ = std::fs::remove_dir_all(folder.path());
            }
        }
    }

    fn forget_logs(&self, run: RunId) {
        // Gone already is as good.
        let _ = std::fs::remove_dir_all(self.logs_of(run));
    }
}
