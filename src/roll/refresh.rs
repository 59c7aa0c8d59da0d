//! New content in folders that running instances have mounted: shown, told of by a signal, and put back when an
//! instance does not take it well.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;

use crate::engine::Engine;
use crate::model::desired::{Desired, Service};
use crate::model::instance::Instance;
use crate::model::run::Entry;
use crate::plan::diff::{Plan, Refresh};

use super::gate::Since;
use super::{Journal, RollError, Rolling, folder};

/// Fills the folders of instances that are to come. Nobody has mounted them yet.
pub async fn prepare(desired: &Desired, plan: &Plan) -> Result<(), RollError> {
    for roll in &plan.rolls {
        let Some(service) = desired.services.get(&roll.service) else { continue };
        for place in &service.in_place {
            // One that running instances look into changes with the switch.
            if !plan.refreshes.iter().any(|refresh| refresh.what.folder == place.folder) {
                show(&roll.service, &place.folder, &place.content).await?;
            }
        }
    }
    Ok(())
}

/// Shows the new content and tells the instances. Each that was told must still be good after its service's settle
/// time: many programs end on what they cannot read.
pub async fn refresh<E: Engine, J: Journal>(rolling: &Rolling<'_, E, J>) -> Result<(), RollError> {
    let by_service = by_service(&rolling.plan.refreshes);
    let each = by_service.iter().map(|(name, refreshes)| rolling.refresh_one(name, refreshes));
    try_join_all(each).await.map(drop)
}

/// Shows what was shown before, and tells the instances again.
pub async fn put_back_content<E: Engine, J: Journal>(rolling: &Rolling<'_, E, J>) -> Result<(), RollError> {
    for (service, refreshes) in by_service(&rolling.plan.refreshes) {
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for Refresh { what, before, .. } in refreshes {
            let Some(before) = before else { continue };
            if folder::shown(Path::new(&what.folder)).as_deref() != Path::new(before).file_name() {
                show(service, &what.folder, before).await?;
                told.extend(what.signal.as_deref());
            }
        }
        let Some(desired) = rolling.desired.services.get(service) else { continue };
        for instance in rolling.looking_in(desired).await? {
            // One that has ended over the new content is started again with the old one.
            rolling.tell(&instance, &told).await.unwrap_or_else(|error| {
                tracing::warn!("{}: {error}", instance.name);
            });
        }
    }
    Ok(())
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    async fn refresh_one(&self, name: &str, refreshes: &[&Refresh]) -> Result<(), RollError> {
        let Some(service) = self.desired.services.get(name) else { return Ok(()) };
        let instances = self.looking_in(service).await?;
        for Refresh { what, .. } in refreshes {
            let target = what.target.clone();
            self.journal.write(Entry::Refreshing { service: name.to_owned(), target }).await?;
            show(name, &what.folder, &what.content).await?;
        }
        let signals: BTreeSet<&str> =
            refreshes.iter().filter_map(|refresh| refresh.what.signal.as_deref()).collect();
        if signals.is_empty() {
            return Ok(());
        }
        let each = instances.iter().map(|instance| async {
            self.tell(instance, &signals).await?;
            let address = instance.endpoints.values().find_map(|endpoint| endpoint.address);
            let since = Since { restarts: instance.condition.restarts, least: service.gate.settle };
            self.wait_for(service, &instance.id, address, since).await.map(drop)
        });
        try_join_all(each).await.map(drop)
    }

    /// Running instances that have the service's folders mounted.
    async fn looking_in(&self, service: &Service) -> Result<Vec<Instance>, RollError> {
        let name = &service.template.service;
        let observed = self.engine.observe(&self.desired.stack).await.map_err(Self::failed(name))?;
        let ours = |i: &Instance| i.service == *name && i.fingerprint == service.fingerprint && i.running();
        Ok(observed.instances.into_iter().filter(ours).collect())
    }

    async fn tell(&self, instance: &Instance, signals: &BTreeSet<&str>) -> Result<(), RollError> {
        for signal in signals {
            self.engine.signal(&instance.id, signal).await.map_err(Self::failed(&instance.service))?;
        }
        Ok(())
    }
}

fn by_service(refreshes: &[Refresh]) -> BTreeMap<&str, Vec<&Refresh>> {
    let mut by_service: BTreeMap<&str, Vec<&Refresh>> = BTreeMap::new();
    for refresh in refreshes {
        by_service.entry(&refresh.service).or_default().push(refresh);
    }
    by_service
}

async fn show(service: &str, folder: &str, content: &str) -> Result<(), RollError> {
    let (at, from) = (PathBuf::from(folder), PathBuf::from(content));
    let shown = tokio::task::spawn_blocking(move || folder::show(&at, &from)).await;
    let shown = shown.unwrap_or_else(|error| Err(io::Error::other(error)));
    shown.map_err(|source| RollError::Folder { service: service.to_owned(), folder: folder.into(), source })
}
