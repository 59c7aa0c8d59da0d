//! What instances that go leave to those that come.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::desired::Service;
use crate::model::instance::{Instance, MountSpec};

use super::{OldInstance, serving};

/// Anonymous volumes, one set for each. What runs now has the newest data.
pub(super) fn data(
    service: &Service,
    seen: &[&Instance],
    old: &[OldInstance],
) -> std::vec::IntoIter<BTreeMap<String, String>> {
    let mut going: Vec<&Instance> =
        seen.iter().copied().filter(|i| old.iter().any(|o| o.id == i.id)).collect();
    going.retain(|instance| !service.one_shot && !instance.volumes.is_empty());
    going.sort_by_key(|instance| (!serving(instance), Reverse(instance.number)));
    let mounts = &service.template.mounts;
    let kept = |place: &String| {
        let mount = mounts.iter().find(|mount| mount.target() == place);
        mount.is_none_or(|mount| matches!(mount, MountSpec::Volume { name: None, .. }))
    };
    let sets: Vec<BTreeMap<String, String>> = going
        .into_iter()
        .map(|instance| instance.volumes.clone().into_iter().filter(|(place, _)| kept(place)).collect())
        .collect();
    sets.into_iter()
}
