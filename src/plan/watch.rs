//! Does an instance that is live stay well? One look after the other; pure.
//!
//! Harder to satisfy than the gate, which waits for what is not there yet: here something was there and went.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::{Desired, Service};
use crate::model::instance::{Health, Instance, InstanceId, Observed, Phase};

use super::verdict;

/// Looks in a row: one alone may have met a moment's load.
const MISSES: u32 = 3;

/// What was met at the instances of one release so far.
#[derive(Debug, Default)]
pub struct Wellbeing {
    misses: BTreeMap<InstanceId, u32>,
    /// What has been stopped and begins again may be asked so many times in vain.
    begins: BTreeMap<InstanceId, u64>,
}

impl Wellbeing {
    /// Takes one more look, a second after the one before; `probe` is what the agent's own question met, if it asked.
    /// `again`: the engine or a person has restarted it or what it depends on. Returns what is wrong.
    pub fn look(
        &mut self,
        service: &Service,
        instance: &Instance,
        probe: Option<&Result<(), String>>,
        again: bool,
    ) -> Option<String> {
        if let Some(end) = crashed(service, instance) {
            return Some(end);
        }
        if again || !instance.running() {
            self.begins.insert(instance.id.clone(), service.gate.timeout.as_secs());
        }
        let sick = instance.condition.health == Some(Health::Unhealthy);
        match (probe, self.begins.get_mut(&instance.id)) {
            (_, Some(left)) if sick && *left > 0 => {
                *left -= 1;
                None
            }
            _ if sick => Some("its health check says unhealthy".into()),
            (Some(Err(_)), Some(left)) if *left > 0 => {
                *left -= 1;
                None
            }
            (Some(Err(met)), _) if instance.running() => {
                let misses = self.misses.entry(instance.id.clone()).or_default();
                *misses += 1;
                (*misses >= MISSES).then(|| format!("{MISSES} times in a row: {met}"))
            }
            (asked, _) => {
                self.misses.remove(&instance.id);
                if asked.is_some_and(Result::is_ok) {
                    self.begins.remove(&instance.id);
                }
                None
            }
        }
    }
}

/// When services did not run, as far as was seen: what restarts, what a person stopped, and what is replaced.
#[derive(Debug)]
pub struct Halts {
    pids: BTreeMap<InstanceId, i64>,
    of: Vec<(String, i64, i64)>,
    since: i64,
    seen_at: i64,
    first: bool,
}

impl Halts {
    /// The watch began at `since`; nothing has been seen of it until now. Milliseconds since the Unix epoch.
    pub fn new(since: i64, now: i64) -> Self {
        Self { pids: BTreeMap::new(), of: Vec::new(), since, seen_at: now, first: true }
    }

    /// Takes one more look; `away`: the engine did not answer since the one before. Returns which instances begin
    /// again, or may depend on one that does.
    pub fn look(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        away: bool,
        now: i64,
    ) -> BTreeSet<InstanceId> {
        let (mut again, mut halted) = (BTreeSet::new(), BTreeSet::new());
        let first = std::mem::take(&mut self.first);
        for (name, service) in desired.services.iter().filter(|(_, service)| !service.one_shot) {
            // What has been replaced may come to its end.
            let of = observed.instances.iter().filter(|i| i.service == *name && !i.dismissed());
            let (mut up, mut from) = (0, self.seen_at);
            for instance in of {
                let (condition, id) = (&instance.condition, &instance.id);
                let before = self.pids.insert(id.clone(), condition.pid);
                // It has begun again while nobody looked: the machine was started anew, for example.
                let unseen = first && condition.started_at.is_some_and(|at| at > self.since);
                if unseen {
                    from = from.min(self.since);
                }
                let same = !unseen && before.is_none_or(|before| before == condition.pid);
                if instance.running() && same && !away && condition.health != Some(Health::Starting) {
                    up += 1;
                } else {
                    again.insert(id.clone());
                }
            }
            if up < service.replicas {
                halted.insert(name.as_str());
                self.of.push((name.clone(), from, now));
            }
        }
        let depends = |name: &str| !halted.is_disjoint(&desired.before(name));
        let dependent = observed.instances.iter().filter(|instance| depends(&instance.service));
        again.extend(dependent.map(|instance| instance.id.clone()));
        self.seen_at = now;
        again
    }

    /// Between which moments a service, or something that it depends on, did not run.
    pub fn of<'a>(&'a self, desired: &'a Desired, name: &'a str) -> impl Iterator<Item = (i64, i64)> + 'a {
        let before = desired.before(name);
        let counts = move |of: &str| of == name || before.contains(of);
        self.of.iter().filter(move |(of, ..)| counts(of)).map(|(_, from, until)| (*from, *until))
    }
}

/// How an instance ended by itself, if it did. What a person ended is not told: see [`stopped_by_hand`].
pub fn crashed(service: &Service, instance: &Instance) -> Option<String> {
    if service.one_shot || stopped_by_hand(service, instance) {
        return None;
    }
    verdict::ended(&instance.condition)
}

/// The engine restarts what crashes, so what has ended all the same was ended by a person; under `no`, and after an end
/// with 0 under `on-failure`, nobody can tell.
pub fn stopped_by_hand(service: &Service, instance: &Instance) -> bool {
    let (restart, condition) = (&service.template.restart, &instance.condition);
    let ended = matches!(condition.phase, Phase::Exited(_) | Phase::Paused);
    let restarted = match restart.policy.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let once_more = restart.max_retries == 0 || condition.restarts < restart.max_retries;
            condition.phase == Phase::Paused || condition.phase != Phase::Exited(0) && once_more
        }
        _ => false,
    };
    // What the engine itself could not start, after a reboot for example, it does not try again.
    let refused = !instance.condition.error.is_empty();
    restarted && ended && !refused && !service.one_shot && instance.fingerprint == service.fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::instance::Condition;
    use crate::model::run::RunId;
    use std::time::Duration;

    fn service(policy: &str) -> Service {
        use crate::model::instance::{RestartSpec, Template};
        let restart = RestartSpec { policy: policy.into(), max_retries: 0 };
        let plain = Service::plain("web", "f");
        Service { template: Template { restart, ..plain.template.clone() }, ..plain }
    }

    fn instance(phase: Phase, restarts: i64) -> Instance {
        Instance {
            id: InstanceId("1".into()),
            name: "shop-web-1".into(),
            service: "web".into(),
            number: 1,
            fingerprint: "f".into(),
            run: RunId(1),
            revision: String::new(),
            image_id: String::new(),
            condition: Condition {
                phase,
                health: None,
                restarts,
                out_of_memory: false,
                error: String::new(),
                pid: 1,
                started_at: None,
                last_exit: None,
            },
            endpoints: BTreeMap::new(),
            nameless: false,
            hosts: None,
            volumes: BTreeMap::new(),
        }
    }

    fn desired() -> Desired {
        Desired {
            stack: "shop".into(),
            revision: "a".repeat(40).parse().unwrap(),
            services: BTreeMap::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: Vec::new(),
            nginx: Default::default(),
        }
    }

    #[test]
    fn a_crash_is_told_whether_or_not_the_engine_restarts_it() {
        let once = crashed(&service("unless-stopped"), &instance(Phase::Running, 1));
        assert_eq!(once.unwrap(), "it crashed and was restarted");
        let ended = crashed(&service("no"), &instance(Phase::Exited(3), 0));
        assert_eq!(ended.unwrap(), "it exited with code 3");
    }

    #[test]
    fn what_a_person_stopped_has_not_crashed() {
        assert_eq!(crashed(&service("unless-stopped"), &instance(Phase::Exited(143), 0)), None);
    }

    #[test]
    fn what_the_engine_would_have_restarted_after_a_failure_was_stopped_by_a_person() {
        let mut service = service("on-failure");
        let crash = |service: &Service, phase, restarts| crashed(service, &instance(phase, restarts));
        assert_eq!(crash(&service, Phase::Exited(143), 9), None);
        // It came to its end.
        assert!(crash(&service, Phase::Exited(0), 0).is_some());
        service.template.restart.max_retries = 3;
        assert_eq!(crash(&service, Phase::Exited(137), 2), None);
        assert!(crash(&service, Phase::Exited(137), 3).is_some());
        assert!(crash(&service, Phase::Restarting, 2).is_some());
        assert_eq!(crash(&service, Phase::Paused, 3), None);
    }

    #[test]
    fn a_one_shot_ends_as_it_should() {
        let service = Service { one_shot: true, ..service("no") };
        assert_eq!(crashed(&service, &instance(Phase::Exited(0), 0)), None);
    }

    #[test]
    fn only_probes_that_fail_in_a_row_count() {
        let (service, instance) = (service("always"), instance(Phase::Running, 0));
        let mut well = Wellbeing::default();
        let met: Result<(), String> = Err("no answer on port 80 within 2000 ms".into());
        let mut look = |probe| well.look(&service, &instance, Some(probe), false);
        assert_eq!((look(&met), look(&met), look(&Ok(()))), (None, None, None));
        assert_eq!((look(&met), look(&met)), (None, None));
        assert_eq!(look(&met).unwrap(), "3 times in a row: no answer on port 80 within 2000 ms");
    }

    #[test]
    fn what_the_engine_or_a_person_has_restarted_may_take_its_time_to_begin() {
        let mut service = service("always");
        service.gate.timeout = Duration::from_secs(5);
        let met: Result<(), String> = Err("nothing listens on port 80".into());
        let (up, down) = (instance(Phase::Running, 0), instance(Phase::Exited(143), 0));
        let told =
            |well: &mut Wellbeing| (1..).find(|_| well.look(&service, &up, Some(&met), false).is_some());
        let mut well = Wellbeing::default();
        assert_eq!(told(&mut well), Some(3));
        well = Wellbeing::default();
        assert_eq!(well.look(&service, &down, None, false), None);
        assert_eq!(told(&mut well), Some(5 + 3));
        well = Wellbeing::default();
        assert_eq!(well.look(&service, &up, Some(&met), true), None);
        assert_eq!(told(&mut well), Some(4 + 3));
        // It has begun.
        well.look(&service, &down, None, false);
        well.look(&service, &up, Some(&Ok(())), false);
        assert_eq!(told(&mut well), Some(3));
    }

    #[test]
    fn a_health_check_that_turns_is_enough_unless_it_is_because_something_else_begins_again() {
        let mut service = service("always");
        service.gate.timeout = Duration::from_secs(2);
        let mut sick = instance(Phase::Running, 0);
        sick.condition.health = Some(Health::Unhealthy);
        assert!(Wellbeing::default().look(&service, &sick, None, false).is_some());
        let mut well = Wellbeing::default();
        assert_eq!(well.look(&service, &sick, None, true), None);
        assert_eq!(well.look(&service, &sick, None, false), None);
        assert!(well.look(&service, &sick, None, false).is_some());
    }

    #[test]
    fn what_was_started_anew_while_nobody_looked_begins_again_since_the_watch_began() {
        let desired = Desired { services: [("web".into(), service("always"))].into(), ..desired() };
        let look = |started_at: Option<i64>| {
            let mut web = instance(Phase::Running, 0);
            web.condition.started_at = started_at;
            let mut halts = Halts::new(500, 9_000);
            let observed = Observed { instances: vec![web], ..Observed::default() };
            let again = halts.look(&desired, &observed, false, 9_000).len();
            // Only the first time.
            assert!(halts.look(&desired, &observed, false, 10_000).is_empty());
            (again, halts.of(&desired, "web").collect::<Vec<_>>())
        };
        assert_eq!(look(Some(400)), (0, Vec::new()));
        assert_eq!(look(None), (0, Vec::new()));
        assert_eq!(look(Some(8_000)), (1, vec![(500, 9_000)]));
    }

    #[test]
    fn what_restarts_or_is_missing_excuses_itself_and_what_depends_on_it() {
        let after = |after: &[&str]| {
            let after = after.iter().map(|name| (*name).to_owned()).collect();
            Service { after, ..service("always") }
        };
        let services =
            [("db", after(&[])), ("api", after(&["db"])), ("web", after(&["api"])), ("blog", after(&[]))];
        let desired = Desired {
            services: services.map(|(name, service)| (name.to_owned(), service)).into(),
            ..desired()
        };
        let one = |name: &str, pid: i64| {
            let mut one = instance(Phase::Running, 0);
            (one.id, one.service, one.condition.pid) = (InstanceId(name.into()), name.into(), pid);
            one
        };
        let seen = |db: Option<i64>| Observed {
            instances: ["api", "blog", "web"]
                .map(|name| one(name, 1))
                .into_iter()
                .chain(db.map(|pid| one("db", pid)))
                .collect(),
            ..Observed::default()
        };
        let ids =
            |names: &[&str]| names.iter().map(|name| InstanceId((*name).into())).collect::<BTreeSet<_>>();
        let mut halts = Halts::new(500, 1_000);
        assert_eq!(halts.look(&desired, &seen(Some(1)), false, 2_000), ids(&[]));
        assert_eq!(halts.look(&desired, &seen(Some(2)), false, 3_000), ids(&["api", "db", "web"]));
        assert_eq!(halts.look(&desired, &seen(Some(2)), false, 4_000), ids(&[]));
        assert_eq!(halts.look(&desired, &seen(None), false, 5_000), ids(&["api", "web"]));
        let of = |name| halts.of(&desired, name).collect::<Vec<_>>();
        assert_eq!((of("web"), of("blog")), (vec![(2_000, 3_000), (4_000, 5_000)], Vec::new()));
        assert_eq!(of("db"), of("web"));
        assert_eq!(halts.look(&desired, &seen(Some(2)), true, 6_000).len(), 4);
    }
}
