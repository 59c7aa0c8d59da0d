//! A new service that needs what one has that goes: under another name it is the same service, and the two cannot run
//! side by side.

use crate::model::desired::{Desired, Order};
use crate::model::instance::Template;

use super::{Removal, Roll};

/// Moves what has to give way from the removals to the rolls that need its place.
pub(super) fn take_over(
    rolls: &mut [Roll],
    removals: &mut Vec<Removal>,
    desired: &Desired,
    before: Option<&Desired>,
) {
    let Some(before) = before else { return };
    for roll in rolls.iter_mut().filter(|roll| !roll.new.is_empty()) {
        let Some(service) = desired.services.get(&roll.service) else { continue };
        removals.retain_mut(|removal| {
            let gone = before.services.get(&removal.service);
            let Some(what) = gone.and_then(|gone| shared(&service.template, &gone.template)) else {
                return true;
            };
            roll.order = Order::StopFirst;
            roll.order_reason = format!("takes over {what} from {}", removal.service);
            roll.old.append(&mut removal.old);
            false
        });
    }
}

/// What only one of the two can have.
fn shared(one: &Template, other: &Template) -> Option<String> {
    if one.container_name.is_some() && one.container_name == other.container_name {
        return one.container_name.as_ref().map(|name| format!("the name {name}"));
    }
    let ports = one.ports.iter().filter(|port| port.host.is_some());
    let taken = ports.clone().find(|port| {
        other.ports.iter().any(|there| {
            let somewhere = port.host_ip.is_none() || there.host_ip.is_none();
            port.host == there.host
                && port.protocol == there.protocol
                && (somewhere || port.host_ip == there.host_ip)
        })
    });
    if let Some(port) = taken.and_then(|port| port.host) {
        return Some(format!("port {port}"));
    }
    let fixed = one.networks.iter().find_map(|used| {
        let address = used.address?;
        other
            .networks
            .iter()
            .any(|there| there.network == used.network && there.address == Some(address))
            .then_some(address)
    });
    fixed.map(|address| format!("the address {address}"))
}
