//! What no release needs any more goes: old runs with their logs, old releases, their images and files, and the
//! container that was kept because it failed. Only what carries the stack's own label is ever touched.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use crate::engine::Engine;
use crate::model::instance::{MountSpec, Observed};
use crate::model::run::{Kind, RunId};
use crate::record::{Release, Target};
use crate::{roll, source};

use super::Reconciler;
use super::render::blocking;
use super::trouble::Trouble;

impl<E: Engine> Reconciler<E> {
    /// Failing to clean up never fails a run: it is tried again after the next one that `changed` something.
    pub(super) async fn prune(&self, kind: Kind, changed: bool) {
        if let Err(Trouble::Failure { failure, .. }) = self.try_prune(kind, changed).await {
            tracing::warn!("cleaning up: {}", failure.message);
        }
    }

    async fn try_prune(&self, kind: Kind, changed: bool) -> Result<(), Trouble> {
        let observed = self.engine.observe(&self.config.stack.name).await?;
        // Mending what runs says nothing of the revision that failed.
        if kind != Kind::Heal {
            for failed in &observed.failed {
                self.engine.remove(&failed.id).await?;
            }
        }
        self.remove_gone(&observed).await?;
        let wanted = match self.record.target().await? {
            Target::Down { then } => then.and_then(|then| then.release()),
            target => target.release(),
        };
        let spared = match wanted {
            Some(release) => Some(release),
            None => self.record.watch().await?.map(|watch| watch.back_to),
        };
        self.record.prune_releases(self.config.history.keep, spared).await?;
        for run in self.record.prune_runs(self.config.history.runs).await? {
            self.forget_logs(run);
        }
        self.forget_old_logs();
        if !changed {
            return Ok(());
        }
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
        self.engine.drop_nameless(&self.config.stack.name).await?;
        self.forget_files(&releases).await
    }

    /// Instances of services that the stack no longer has: only stopped while their release may be taken back.
    pub(super) async fn remove_gone(&self, observed: &Observed) -> Result<(), Trouble> {
        if self.record.watch().await?.is_some() {
            return Ok(());
        }
        let Some(current) = self.record.current().await? else { return Ok(()) };
        let known = &current.desired.services;
        let gone = observed.instances.iter().filter(|i| i.ended() && !known.contains_key(&i.service));
        for instance in gone {
            tracing::info!("{} is removed: the stack no longer has {}", instance.name, instance.service);
            self.engine.remove(&instance.id).await?;
        }
        Ok(())
    }

    /// Files that neither a release that could be restored nor a container has mounted.
    async fn forget_files(&self, releases: &[Release]) -> Result<(), Trouble> {
        let mut needed = self.engine.mounted(&self.config.stack.name).await?;
        for service in releases.iter().flat_map(|release| release.desired.services.values()) {
            needed.extend(service.in_place.iter().map(|place| place.content.clone()));
            needed.extend(service.template.mounts.iter().filter_map(|mount| match mount {
                MountSpec::Bind { source, .. } => Some(source.clone()),
                _ => None,
            }));
        }
        let (files, objects, in_place) = (self.files(), self.objects(), self.in_place());
        blocking(move || {
            for store in [&files, &objects, &in_place] {
                source::forget(store, &below(store, &needed))?;
            }
            for folder in needed.iter().map(Path::new).filter(|path| path.starts_with(&in_place)) {
                if let Err(error) = roll::forget_old(folder) {
                    tracing::warn!("{} keeps old content: {error}", folder.display());
                }
            }
            Ok(())
        })
        .await
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

/// The names in a folder that these paths lead to or through.
fn below(folder: &Path, paths: &[String]) -> BTreeSet<OsString> {
    let inside = paths.iter().filter_map(|path| Path::new(path).strip_prefix(folder).ok());
    inside.filter_map(|path| Some(path.components().next()?.as_os_str().to_owned())).collect()
}
