//! What of each service is as it should be, and what is not and why.

use crate::model::desired::Service;
use crate::model::instance::{Instance, Observed, Phase};

use super::{Given, OldInstance, Purpose, explain, retiring};

/// One service as it is wanted, beside what there is of it.
pub(super) struct Comparison<'a> {
    pub(super) name: &'a String,
    pub(super) service: &'a Service,
    pub(super) seen: Vec<&'a Instance>,
    /// By a person.
    pub(super) stopped: Vec<&'a Instance>,
    pub(super) what: Compared,
}

/// What is as it should be, but goes with another that is replaced.
pub(super) fn follow(compared: &mut [Comparison<'_>], given: &Given<'_>) {
    let mut replaced: Vec<&String> = Vec::new();
    loop {
        let news = compared.iter().filter(|one| one.is_replaced() && !replaced.contains(&one.name));
        let news: Vec<&String> = news.map(|one| one.name).collect();
        if news.is_empty() {
            return;
        }
        for one in compared.iter_mut().filter(|one| one.what == Compared::Unchanged && !one.service.one_shot)
        {
            let Some(leader) = one.service.follows.iter().find(|name| news.contains(name)) else { continue };
            let add = one.service.replicas.saturating_sub(one.stopped.len() as u32);
            let old = one.seen.iter().map(|instance| retiring(instance, given)).collect();
            one.what = Compared::Roll { reason: format!("goes with {leader}, which is replaced"), add, old };
        }
        replaced.extend(news);
    }
}

impl Comparison<'_> {
    fn is_replaced(&self) -> bool {
        match &self.what {
            Compared::Roll { add, old, .. } => *add > 0 && (!old.is_empty() || self.seen.is_empty()),
            Compared::Unchanged => false,
        }
    }
}

#[derive(PartialEq)]
pub(super) enum Compared {
    Unchanged,
    Roll { reason: String, add: u32, old: Vec<OldInstance> },
}

/// `spared`: how many of its instances are left as they are, whatever they are.
pub(super) fn compare(
    name: &str,
    service: &Service,
    seen: &[&Instance],
    spared: usize,
    given: &Given<'_>,
) -> Compared {
    let over = has_run(name, service, given);
    let stranded = |i: &Instance| stranded(service, i, given.observed);
    let left = |i: &Instance| over && (i.ended() || i.fingerprint == service.fingerprint);
    let (good, other): (Vec<&Instance>, Vec<&Instance>) =
        seen.iter().partition(|i| good(service, i) && !stranded(i) || left(i));
    let wanted = match service.one_shot {
        true if over => good.len(),
        true => 1,
        false => service.replicas as usize,
    };
    let surplus = good.len().saturating_sub(wanted);
    let add = wanted.saturating_sub(good.len() + spared) as u32;
    if add == 0 && surplus == 0 && other.is_empty() {
        return Compared::Unchanged;
    }
    let mut old: Vec<OldInstance> = other.iter().map(|i| retiring(i, given)).collect();
    old.extend(good.iter().take(surplus).map(|i| retiring(i, given)));
    let reason = if add == 0 {
        format!("{} too many", instances(old.len()))
    } else if seen.is_empty() {
        let known = given.before.is_some_and(|before| before.services.contains_key(name));
        if known { "its container is gone".into() } else { "new in this stack".into() }
    } else if other.iter().any(|i| i.fingerprint != service.fingerprint) {
        explain::changes(given.before.and_then(|before| before.services.get(name)), service)
    } else if other.is_empty() {
        format!("{} too few", instances(add as usize))
    } else if other.iter().any(|i| stranded(i)) {
        "what it shares the network or the processes of was started again".into()
    } else {
        "its container does not run".into()
    };
    Compared::Roll { reason, add, old }
}

/// Whether it did what it is for before its release went live. Then it does not do so again, though its container is
/// gone: an old migration may not know the data any more that a newer one has left.
fn has_run(name: &str, service: &Service, given: &Given<'_>) -> bool {
    let before = given.before.and_then(|before| before.services.get(name));
    let same = before.is_some_and(|before| before.one_shot && before.fingerprint == service.fingerprint);
    service.one_shot && (same || given.purpose != Purpose::Release)
}

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".into() } else { format!("{count} instances") }
}

/// It is what is wanted and callers can find it.
fn good(service: &Service, instance: &Instance) -> bool {
    let ends_well = if service.one_shot {
        matches!(instance.condition.phase, Phase::Exited(0))
    } else {
        instance.running() && (instance.admitted() || service.template.networks.is_empty())
    };
    ends_well && instance.fingerprint == service.fingerprint
}

/// What it shares a namespace of was started after it: that has a new one, and it is alone in the old one.
fn stranded(service: &Service, instance: &Instance, observed: &Observed) -> bool {
    let Some(started) = instance.condition.started_at else { return false };
    service.template.shares().any(|owner| {
        let mut owners = observed.instances.iter().filter(|i| i.service == owner && i.running()).peekable();
        owners.peek().is_some() && owners.all(|i| i.condition.started_at > Some(started))
    })
}
