//! Callers inside the stack, while names move: all of them are led to the old instances until all new ones have passed,
//! and then, at one moment, to the new ones.
//!
//! The engine cannot do that. Its name service knows both for as long as it takes to give one the names and to take them
//! from the other, answers with either, and answers with one that is not on its network yet or not any more: a
//! connection to that is not heard for a second. So callers find the names in their own `/etc/hosts` meanwhile, which
//! comes before any name service. Only addresses that the agent has given stand there: they outlive a restart of
//! their container. Who does not read that file asks the engine as ever.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::engine::Engine;
use crate::model::desired::Order;
use crate::model::instance::{Instance, NetworkUse, Observed};
use crate::plan::diff::Roll;

use super::{Journal, Rolling, hosts};

/// Where names lead on one network.
struct Lead<'a> {
    on: &'a NetworkUse,
    to: Vec<Ipv4Addr>,
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// Callers find what served before the run, whatever the engine's name service says.
    pub(super) async fn lead_to_old(&self, observed: &Observed) {
        let leads = self.leads(|roll, network| {
            let serving = roll.old.iter().filter(|old| old.serving);
            let instances = serving.filter_map(|old| observed.instances.iter().find(|i| i.id == old.id));
            let instances = instances.filter(|instance| instance.running());
            instances.filter_map(|instance| instance.endpoints.get(network)?.address).collect()
        });
        write(observed, &leads).await;
    }

    /// Callers find what the run has brought.
    pub async fn lead_to_new(&self, observed: &Observed) {
        let leads = self.leads(|roll, network| {
            roll.new.iter().filter_map(|new| new.addresses.get(network).copied()).collect()
        });
        write(observed, &leads).await;
    }

    fn leads(&self, to: impl Fn(&Roll, &str) -> Vec<Ipv4Addr>) -> Vec<Lead<'_>> {
        // What stops first has a gap in any case.
        let rolls = self.plan.rolls.iter().filter(|roll| roll.order == Order::StartFirst);
        let replaced = rolls.filter(|roll| roll.old.iter().any(|old| old.serving));
        let mut leads = Vec::new();
        for roll in replaced {
            let Some(service) = self.desired.services.get(&roll.service).filter(|s| !s.one_shot) else {
                continue;
            };
            for on in &service.template.networks {
                let given = |network: &str| roll.new.iter().all(|new| new.addresses.contains_key(network));
                let to = to(roll, &on.network);
                if given(&on.network) && !to.is_empty() {
                    leads.push(Lead { on, to });
                }
            }
        }
        leads
    }
}

/// Callers ask the engine again.
pub async fn leave_callers(observed: &Observed) {
    write(observed, &[]).await;
}

/// A file that cannot be written leaves its caller with the engine's name service, where both are found for a moment.
async fn write(observed: &Observed, leads: &[Lead<'_>]) {
    let wanted: Vec<_> = observed
        .instances
        .iter()
        .filter_map(|caller| Some((caller.hosts.clone()?, lines(caller, leads))))
        .collect();
    let written = tokio::task::spawn_blocking(move || {
        for (file, lines) in wanted {
            if let Err(error) = hosts::set(&file, &lines) {
                tracing::debug!("{}: {error}", file.display());
            }
        }
    });
    // It has no way to fail but a panic, which is reported where it happens.
    let _ = written.await;
}

fn lines(caller: &Instance, leads: &[Lead<'_>]) -> BTreeSet<String> {
    let reached = leads.iter().filter(|lead| caller.endpoints.contains_key(&lead.on.network));
    reached.flat_map(|lead| lead.to.iter().map(|address| hosts::line(*address, &lead.on.aliases))).collect()
}
