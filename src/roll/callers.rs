//! Callers inside the stack, while names move: all of them are led to the old instances until all new ones have passed,
//! and then, at one moment, to the new ones.
//!
//! The engine cannot do that. Its name service knows both for as long as it takes to give one the names and to take them
//! from the other, answers with either, and answers with one that is not on its network yet or not any more: a
//! connection to that is not heard for a second. So callers find the names in their own `/etc/hosts` meanwhile, which
//! comes before any name service. Only addresses that the agent has given stand there: they outlive a restart of
//! their container. Who does not read that file asks the engine as ever.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;

use crate::engine::Engine;
use crate::model::desired::{Order, Service};
use crate::model::instance::{Instance, NetworkUse, Observed};
use crate::plan::diff::Roll;

use super::{Journal, Rolling, hosts};

/// Where names lead on one network.
struct Lead<'a> {
    network: &'a str,
    names: Vec<String>,
    to: Vec<Ipv4Addr>,
}

impl<E: Engine, J: Journal> Rolling<'_, E, J> {
    /// Callers find what served before the run, whatever the engine's name service says.
    pub async fn lead_to_old(&self, observed: &Observed) {
        let old = |instance: &Instance, roll: &Roll| {
            instance.running() && roll.old.iter().any(|old| old.serving && old.id == instance.id)
        };
        write(observed, &self.leads(observed, old)).await;
    }

    /// Callers find what the run has brought.
    pub async fn lead_to_new(&self, observed: &Observed) {
        write(observed, &self.leads(observed, |instance, _| instance.run == self.run)).await;
    }

    fn leads(&self, observed: &Observed, to: impl Fn(&Instance, &Roll) -> bool) -> Vec<Lead<'_>> {
        // What stops first has a gap in any case.
        let replaced = self.plan.rolls.iter().filter(|roll| {
            roll.order == Order::StartFirst && !roll.new.is_empty() && roll.old.iter().any(|old| old.serving)
        });
        let mut leads = Vec::new();
        for roll in replaced {
            let service = self.desired.services.get(&roll.service);
            // nginx is brought up last of all, when the others are led to the new ones already.
            let Some(service) = service.filter(|service| !service.one_shot && !service.proxy) else {
                continue;
            };
            for on in &service.template.networks {
                let here = observed.instances.iter().filter(|instance| instance.service == roll.service);
                let here = here.filter(|instance| to(instance, roll) || self.stays(instance, roll));
                let to: Vec<_> =
                    here.filter_map(|instance| instance.endpoints.get(&on.network)?.address).collect();
                let names: Vec<_> =
                    on.aliases.iter().filter(|name| self.is_alone(service, on, name)).cloned().collect();
                let given = roll.new.iter().all(|new| new.addresses.contains_key(&on.network));
                if given && !to.is_empty() && !names.is_empty() {
                    leads.push(Lead { network: &on.network, names, to });
                }
            }
        }
        leads
    }

    /// It serves before the roll and after it.
    fn stays(&self, instance: &Instance, roll: &Roll) -> bool {
        let old = roll.old.iter().any(|old| old.id == instance.id);
        !old && instance.run != self.run && instance.running() && instance.admitted()
    }

    /// No other service answers to the name on that network.
    fn is_alone(&self, service: &Service, on: &NetworkUse, name: &String) -> bool {
        let others = self.desired.services.values().map(|other| &other.template);
        let others = others.filter(|other| other.service != service.template.service);
        let mut uses = others.flat_map(|other| &other.networks);
        !uses.any(|used| used.network == on.network && used.aliases.contains(name))
    }
}

/// Callers ask the engine again.
pub async fn leave_callers(observed: &Observed) {
    write(observed, &[]).await;
}

/// A file that cannot be written leaves its caller with the engine's name service, where both are found for a moment.
async fn write(observed: &Observed, leads: &[Lead<'_>]) {
    let callers = observed.instances.iter();
    let wanted: Vec<_> =
        callers.filter_map(|caller| Some((caller.hosts.clone()?, lines(caller, leads)))).collect();
    let written = tokio::task::spawn_blocking(move || {
        let mut failed = None;
        for (file, lines) in wanted {
            if let Err(error) = hosts::set(&file, &lines) {
                // The container has gone meanwhile.
                if error.kind() == ErrorKind::NotFound {
                    continue;
                }
                // What it says by now leads to what may go next.
                let _ = hosts::set(&file, &BTreeSet::new());
                failed.get_or_insert((file, error));
            }
        }
        if let Some((file, error)) = failed {
            tracing::warn!(
                "callers find old and new side by side for a moment: {} cannot be written: {error}; under systemd see \
                 ReadWritePaths= in docs/service.md",
                file.display()
            );
        }
    });
    // It has no way to fail but a panic, which is reported where it happens.
    let _ = written.await;
}

/// One that has no names yet has no work yet, and the engine is about to write into its file: it joins its networks again.
fn lines(caller: &Instance, leads: &[Lead<'_>]) -> BTreeSet<String> {
    let reached =
        leads.iter().filter(|lead| caller.admitted() && caller.endpoints.contains_key(lead.network));
    reached.flat_map(|lead| lead.to.iter().map(|address| hosts::line(*address, &lead.names))).collect()
}
