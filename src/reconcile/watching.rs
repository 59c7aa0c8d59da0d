//! The watch over a new release: for a while after the switch its instances are asked and looked at, and its
//! answers counted. If it turns bad, the last one that stayed well becomes the target; the loop does the rest.
//!
//! Only deploys are watched. What a rollback or a revert brings back was good before, and a watch over it could
//! only send everything to and fro.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::model::desired::{Desired, Service};
use crate::model::instance::{Instance, Observed};
use crate::model::run::{Failure, Outcome, RunId};
use crate::plan::answers::{self, Tally};
use crate::plan::watch::{Begins, Forgiven, Halts, Met, RECOVERS, Wellbeing};
use crate::record::{RecordError, Release, Watch, Watched};
use crate::report;
use crate::roll::probe;
use crate::trigger::Reason;

use super::Reconciler;
use super::access_log::AccessLog;
use super::journal::now;
use super::situation::Situation;
use super::trouble::Trouble;

const EVERY: Duration = Duration::from_secs(1);
const LOG_LINES: usize = 20;

/// What turned bad, before it is told.
pub(super) struct Bad {
    pub(super) service: String,
    pub(super) what: String,
}

impl<E: Engine> Reconciler<E> {
    /// How a release that differs in these services is to be watched, if the configuration wants that.
    pub(super) fn watched(&self, services: BTreeSet<String>) -> Option<Watched> {
        let long = self.config.roll.watch.as_millis() as i64;
        (long > 0).then_some(Watched { services, long })
    }

    /// What will not be noticed in a watch, in words for people.
    pub(super) fn unwatched(&self, desired: &Desired) -> Option<&'static str> {
        let own = desired.nginx.template.as_ref().filter(|_| !self.config.roll.watch.is_zero())?;
        (!answers::are_told_by(&own.text)).then_some(
            "the nginx template does not write the built-in one's access log: server errors are not watched",
        )
    }

    /// Lets everybody know whether a release is watched, by what the record says.
    pub(super) async fn publish_watch(&self) -> Result<(), RecordError> {
        let watch = self.record.watch().await?;
        self.situation.send_if_modified(|situation| {
            let changed = situation.watching != watch;
            situation.watching = watch;
            changed
        });
        Ok(())
    }

    /// Watches each new release until its time is over or it turns bad. Runs beside the loop.
    pub async fn watch_releases(&self, stop: CancellationToken) {
        let mut situation = self.situation.subscribe();
        // One that an earlier agent began goes on at once, whatever the first turn has to do.
        let _ = self.publish_watch().await;
        let (mut wellbeing, mut halts) = (Wellbeing::default(), Halts::default());
        loop {
            let watch = tokio::select! {
                watch = changed(&mut situation, None) => watch,
                () = stop.cancelled() => return,
            };
            let Some(watch) = watch else { continue };
            // Not longer than wanted, whatever has happened to the clock.
            let left = Duration::from_millis((watch.until - now()).max(0) as u64).min(self.config.roll.watch);
            let ended = tokio::select! {
                bad = self.until_bad(&watch, &mut wellbeing, &mut halts) => self.turned_bad(&watch, bad).await,
                () = tokio::time::sleep(left) => self.seen_through(&watch).await.map(|()| true),
                _ = changed(&mut situation, Some(&watch)) => Ok(true),
                () = stop.cancelled() => return,
            };
            if let Err(error) = &ended {
                tracing::error!("the watch: {}", report::line(error));
            }
            // Within a watch the next release takes over what was met.
            if self.situation.borrow().watching.is_none() {
                wellbeing = Wellbeing::default();
                self.met.send_replace(Some(Met::default()));
            }
            if !ended.unwrap_or(false) {
                tokio::time::sleep(EVERY).await;
            }
        }
    }

    async fn seen_through(&self, watch: &Watch) -> Result<(), RecordError> {
        self.record.end_watch(watch.run).await?;
        tracing::info!(run = watch.run.0, "the new release has stayed well");
        self.publish_watch().await?;
        // What it replaced and was only stopped can go now.
        let _ = self.wakes.wake(Reason::Watch).await;
        Ok(())
    }

    /// Says whether it gives way by that. Not so while something else is ordered, which may be taken back.
    pub(super) async fn turned_bad(
        &self,
        watch: &Watch,
        Bad { service, what }: Bad,
    ) -> Result<bool, RecordError> {
        // One that cannot be read must not keep what is bad from giving way.
        let releases = self.record.releases().await.unwrap_or_default();
        let late = how_late(watch, &service, &releases, now());
        let failure = Failure {
            message: format!("went bad {late}: {what}"),
            hint: Some("mend it and push; to try it again as it is: agent retry".into()),
            log: self.last_words(&service).await,
            service: Some(service),
        };
        let gives_way = self.record.go_back(watch, failure.clone(), now()).await?;
        if gives_way {
            let service = failure.service.unwrap_or_default();
            tracing::error!(run = watch.run.0, "{service}: {}", failure.message);
            // In memory the wake holds even when it cannot be written. Nobody is to see an idle agent in between.
            let _ = self.wakes.wake(Reason::Watch).await;
        }
        self.publish_watch().await?;
        Ok(gives_way)
    }

    async fn last_words(&self, service: &str) -> String {
        let Ok(observed) = self.engine.observe(&self.config.stack.name).await else { return String::new() };
        match observed.instances.iter().rev().find(|instance| instance.service == service) {
            Some(instance) => self.engine.logs(&instance.id, LOG_LINES).await.unwrap_or_default(),
            None => String::new(),
        }
    }

    /// Looks and counts until something is wrong.
    async fn until_bad(&self, watch: &Watch, wellbeing: &mut Wellbeing, halts: &mut Halts) -> Bad {
        let desired = loop {
            match self.record.current().await {
                Ok(Some(release)) => break release.desired,
                _ => tokio::time::sleep(EVERY).await,
            }
        };
        // A clock that was set back would date every answer to the time before the switch.
        let mut clock = now();
        let count_from =
            |good_until: i64, at: i64| Tally::new(watch.services.iter().cloned(), good_until, at);
        let mut tally = count_from(watch.first.unwrap_or(watch.since), watch.since.min(clock));
        let mut log = AccessLog::new(self, &desired, tally.switched() + 1);
        // Suspected are services until it is known how they answered before the switch.
        let (mut suspects, mut compared) = (BTreeSet::new(), false);
        let mut away = false;
        halts.watch(watch.since, self.began(watch), clock);
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if now() < clock {
                tally = count_from(now(), now());
                log = AccessLog::new(self, &desired, tally.switched());
                compared = false;
            }
            clock = now();
            // An engine that does not answer is not the release's fault.
            let Ok((observed, is_whole)) = self.observe_watched(watch, &desired).await else {
                away = true;
                continue;
            };
            // Nor is what is not answered while it restarts, or while a person does something else.
            let look = if is_whole { Halts::look } else { Halts::look_at_some };
            let begins = look(halts, &desired, &observed, std::mem::take(&mut away), clock);
            let forgiven = self.forgive(watch, &observed, &begins).await;
            if let Some(bad) =
                self.look_after(wellbeing, watch, &desired, &observed, (&begins, &forgiven)).await
            {
                return bad;
            }
            let instances = answering(watch, &desired, &observed);
            let answers = log.look(&observed).await;
            suspects.extend(answers.iter().filter_map(|answer| Some(tally.count(answer, &instances)?.0)));
            if suspects.is_empty() {
                continue;
            }
            compared = compared || compare(&mut tally, &log, &observed).await;
            if !compared {
                continue;
            }
            for service in std::mem::take(&mut suspects) {
                self.excuse(&mut tally, watch, &desired, &service).await;
                let halts = halts.of(&desired, &service);
                halts.for_each(|(from, until, patience)| tally.excuse(&service, from, Some(until), patience));
                if let Some(what) = tally.judge(&service) {
                    return Bad { service, what };
                }
            }
        }
    }

    /// What is not answered in the gap of another run is not the watched release's doing.
    async fn excuse(&self, tally: &mut Tally, watch: &Watch, desired: &Desired, service: &str) {
        for stopped in desired.before(service).into_iter().chain([service]) {
            match self.record.stopped_since(watch.run, stopped).await {
                Ok(gaps) => {
                    gaps.into_iter().for_each(|(from, until)| tally.excuse(service, from, until, RECOVERS))
                }
                Err(error) => tracing::error!("the watch: {}", report::line(&error)),
            }
        }
    }

    /// What runs, without what other runs are at: what one starts has a gate to pass yet, what it stops has not
    /// crashed, and what an earlier agent left of it is about to be undone. None of it tells of the watched release.
    /// Also says whether there are none of these.
    async fn observe_watched(&self, watch: &Watch, desired: &Desired) -> Result<(Observed, bool), Trouble> {
        // Asked before and after the look: a run may begin or end meanwhile.
        let mut others = self.record.unended().await?;
        let mut observed = self.engine.observe(&desired.stack).await?;
        others.extend(self.record.unended().await?);
        let is_whole = !others.iter().any(|run| run.id != watch.run && run.status.touches_containers());
        if !is_whole {
            observed.instances.retain(Instance::running);
        }
        Ok((self.without_others(watch, observed).await?, is_whole))
    }

    /// Without what later runs brought that did not succeed.
    pub(super) async fn without_others(
        &self,
        watch: &Watch,
        mut observed: Observed,
    ) -> Result<Observed, Trouble> {
        let later: BTreeSet<RunId> =
            observed.instances.iter().map(|instance| instance.run).filter(|run| *run > watch.run).collect();
        for run in later {
            if self.record.run(run).await?.outcome != Some(Outcome::Succeeded) {
                observed.instances.retain(|instance| instance.run != run);
            }
        }
        Ok(observed)
    }

    async fn look_after(
        &self,
        wellbeing: &mut Wellbeing,
        watch: &Watch,
        desired: &Desired,
        observed: &Observed,
        (begins, forgiven): (&Begins, &Forgiven),
    ) -> Option<Bad> {
        let within = self.config.roll.probe_timeout;
        let looks = watched(watch, desired, observed).map(|(service, instance)| async move {
            let asked = match (&service.gate.probe, address(service, instance)) {
                (Some(question), Some(address)) if instance.running() => {
                    Some(probe::ask(question, address, within).await)
                }
                _ => None,
            };
            (service, instance, asked)
        });
        let looks = join_all(looks).await;
        looks.into_iter().find_map(|(service, instance, asked)| {
            let crash = forgiven.crashed(service, instance);
            let what = crash.or_else(|| wellbeing.look(service, instance, asked.as_ref(), begins))?;
            Some(Bad { service: instance.service.clone(), what })
        })
    }
}

/// How long after its start, and of which release, if that is not the newest one and known.
fn how_late(watch: &Watch, service: &str, releases: &[Release], now: i64) -> String {
    let brought = watch.brought(service);
    let seconds = |since: i64| (now - since).max(0) / 1000;
    match releases.iter().find(|release| release.run == brought && brought != watch.run) {
        Some(Release { created_at, revision, .. }) => {
            format!("{} s after it went live with {}", seconds(*created_at), revision.short())
        }
        None => format!("{} s after it was live", seconds(watch.since)),
    }
}

/// Counts what was answered before the switch. That takes time and seldom matters: it is done once it does. Returns
/// whether it could be done.
async fn compare<E: Engine>(tally: &mut Tally, log: &AccessLog<'_, E>, observed: &Observed) -> bool {
    let Some(answers) = log.since(observed, tally.from()).await else { return false };
    let switched = tally.switched();
    for answer in answers.iter().filter(|answer| answer.at <= switched) {
        tally.count(answer, &BTreeSet::new());
    }
    true
}

/// Waits until another release than this is watched, or none.
async fn changed(situation: &mut watch::Receiver<Situation>, from: Option<&Watch>) -> Option<Watch> {
    let changed = situation.wait_for(|situation| situation.watching.as_ref() != from).await;
    changed.ok()?.watching.clone()
}

/// It is of the watched release, or what an earlier run has left live that is as little proven.
fn is_new(watch: &Watch, desired: &Desired, instance: &Instance) -> bool {
    let service = desired.services.get(&instance.service);
    let same = service.is_some_and(|service| service.fingerprint == instance.fingerprint);
    let unproven = watch.unproven.contains_key(&instance.service);
    instance.run >= watch.run || unproven && same && !instance.dismissed()
}

/// The instances that the watched release brought, and those that have replaced them since.
pub(super) fn watched<'a>(
    watch: &'a Watch,
    desired: &'a Desired,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a Service, &'a Instance)> {
    let new = observed.instances.iter().filter(|instance| is_new(watch, desired, instance));
    new.filter(|instance| watch.services.contains(&instance.service))
        .filter_map(|instance| Some((desired.services.get(&instance.service)?, instance)))
}

/// The addresses whose answers count: of new instances, and of all where only a route is new.
fn answering(watch: &Watch, desired: &Desired, observed: &Observed) -> BTreeSet<Ipv4Addr> {
    let rolled: BTreeSet<&str> =
        watched(watch, desired, observed).map(|(_, instance)| instance.service.as_str()).collect();
    let counts = |instance: &&Instance| {
        is_new(watch, desired, instance) || !rolled.contains(instance.service.as_str())
    };
    let instances = observed.instances.iter().filter(counts);
    instances
        .flat_map(|instance| instance.endpoints.values().filter_map(|endpoint| endpoint.address))
        .collect()
}

/// Where the agent, on the host, reaches an instance.
fn address(service: &Service, instance: &Instance) -> Option<Ipv4Addr> {
    match service.template.network_mode.as_deref() {
        Some("host") => Some(Ipv4Addr::LOCALHOST),
        _ => instance.endpoints.values().find_map(|endpoint| endpoint.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::ReleaseId;

    #[test]
    fn how_late_something_turned_bad_is_told_also_where_no_release_can_be_read() {
        let watch = Watch {
            run: RunId(3),
            back_to: ReleaseId(1),
            services: BTreeSet::new(),
            unproven: [("web".to_owned(), RunId(2))].into(),
            touched: Default::default(),
            first: None,
            since: 1_000,
            until: 61_000,
        };
        assert_eq!(how_late(&watch, "web", &[], 13_500), "12 s after it was live");
    }
}
