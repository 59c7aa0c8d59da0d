//! What is said of instances that end, begin and answer, one look after the other.

use super::*;
use crate::model::instance::Condition;
use std::time::Duration;

fn service(policy: &str) -> Service {
    use crate::model::instance::{RestartSpec, Template};
    let restart = RestartSpec { policy: policy.into(), max_retries: 0 };
    let plain = Service::plain("web", "f");
    Service { template: Template { restart, ..plain.template.clone() }, ..plain }
}

fn instance(phase: Phase, restarts: i64) -> Instance {
    let condition = Condition { restarts, ..Condition::plain(phase) };
    Instance { condition, ..Instance::plain("web", 1, phase) }
}

fn no() -> Begins {
    Begins::default()
}

fn own() -> Begins {
    Begins { own: [InstanceId("1".into())].into(), ..no() }
}

fn excused() -> Begins {
    Begins { excused: [InstanceId("1".into())].into(), ..no() }
}

fn halts(since: i64, now: i64) -> Halts {
    let mut halts = Halts::default();
    halts.watch(since, Began::Now, now);
    halts
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
    assert_eq!(crash(&service, Phase::Dead, 0), None, "somebody removes it");
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
    let mut look = |probe| well.look(&service, &instance, Some(probe), &no());
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
    let told = |well: &mut Wellbeing| (1..).find(|_| well.look(&service, &up, Some(&met), &no()).is_some());
    let mut well = Wellbeing::default();
    assert_eq!(told(&mut well), Some(3));
    well = Wellbeing::default();
    assert_eq!(well.look(&service, &down, None, &no()), None);
    assert_eq!(told(&mut well), Some(5 + 3));
    well = Wellbeing::default();
    assert_eq!(well.look(&service, &up, Some(&met), &own()), None);
    assert_eq!(told(&mut well), Some(4 + 3));
    // It has begun.
    well.look(&service, &down, None, &no());
    well.look(&service, &up, Some(&Ok(())), &no());
    assert_eq!(told(&mut well), Some(3));
}

#[test]
fn a_health_check_that_turns_is_enough_unless_it_is_because_something_else_begins_again() {
    let mut service = service("always");
    service.gate.timeout = Duration::from_secs(2);
    let mut sick = instance(Phase::Running, 0);
    sick.condition.health = Some(Health::Unhealthy);
    assert!(Wellbeing::default().look(&service, &sick, None, &no()).is_some());
    let mut well = Wellbeing::default();
    assert_eq!(well.look(&service, &sick, None, &own()), None);
    assert_eq!(well.look(&service, &sick, None, &no()), None);
    assert!(well.look(&service, &sick, None, &no()).is_some());
}

#[test]
fn what_was_started_anew_while_nobody_looked_begins_again_since_the_watch_began() {
    let desired = Desired { services: [("web".into(), service("always"))].into(), ..desired() };
    let look = |started_at: Option<i64>| {
        let mut web = instance(Phase::Running, 0);
        web.condition.started_at = started_at;
        let mut halts = halts(500, 9_000);
        let observed = Observed { instances: vec![web], ..Observed::default() };
        let again = halts.look(&desired, &observed, false, 9_000).own.len();
        // Only the first time.
        assert_eq!(halts.look(&desired, &observed, false, 10_000), no());
        (again, halts.of(&desired, "web").collect::<Vec<_>>())
    };
    assert_eq!(look(Some(400)), (0, Vec::new()));
    assert_eq!(look(None), (0, Vec::new()));
    assert_eq!(look(Some(8_000)), (1, vec![(500, 9_000, 0)]));
}

#[test]
fn what_crashed_while_nobody_looked_does_not_excuse_itself() {
    let service = service("always");
    let desired = Desired { services: [("web".into(), service.clone())].into(), ..desired() };
    let mut web = instance(Phase::Running, 1);
    web.condition.started_at = Some(8_000);
    let observed = Observed { instances: vec![web.clone()], ..Observed::default() };
    let (mut halts, mut forgiven) = (halts(500, 9_000), Forgiven::default());
    forgiven.look(&observed, &halts.look(&desired, &observed, false, 9_000));
    assert_eq!(forgiven.crashed(&service, &web).unwrap(), "it crashed and was restarted");
}

#[test]
fn what_was_seen_of_a_watch_stays_seen_when_it_is_gone_on_with() {
    let desired = Desired { services: [("web".into(), service("always"))].into(), ..desired() };
    let mut web = instance(Phase::Running, 0);
    web.condition.started_at = Some(8_000);
    let observed = Observed { instances: vec![web], ..Observed::default() };
    let mut halts = halts(500, 9_000);
    assert_eq!(halts.look(&desired, &observed, false, 9_000).own.len(), 1);
    halts.watch(500, Began::Earlier, 10_000);
    assert_eq!(halts.look(&desired, &observed, false, 10_000), no());
    assert_eq!(halts.of(&desired, "web").count(), 1);
    // The next watch has not seen it yet.
    halts.watch(600, Began::Now, 11_000);
    assert_eq!(halts.look(&desired, &observed, false, 11_000).own.len(), 1);
}

#[test]
fn what_restarts_or_is_missing_excuses_itself_and_what_depends_on_it() {
    let after = |after: &[&str]| {
        let after = after.iter().map(|name| (*name).to_owned()).collect();
        Service { after, ..service("always") }
    };
    let services =
        [("db", after(&[])), ("api", after(&["db"])), ("web", after(&["api"])), ("blog", after(&[]))];
    let desired =
        Desired { services: services.map(|(name, service)| (name.to_owned(), service)).into(), ..desired() };
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
    let ids = |names: &[&str]| names.iter().map(|name| InstanceId((*name).into())).collect::<BTreeSet<_>>();
    let mut halts = halts(500, 1_000);
    let begins = |own: &[&str], excused: &[&str]| Begins { own: ids(own), excused: ids(excused) };
    assert_eq!(halts.look(&desired, &seen(Some(1)), false, 2_000), no());
    assert_eq!(halts.look(&desired, &seen(Some(2)), false, 3_000), begins(&["db"], &["api", "web"]));
    assert_eq!(halts.look(&desired, &seen(Some(2)), false, 4_000), no());
    assert_eq!(halts.look(&desired, &seen(None), false, 5_000), begins(&[], &["api", "web"]));
    let of = |name| halts.of(&desired, name).collect::<Vec<_>>();
    let patient = |seconds| vec![(2_000, 3_000, seconds), (4_000, 5_000, seconds)];
    assert_eq!((of("db"), of("web"), of("blog")), (patient(0), patient(RECOVERS), Vec::new()));
    let all = ["api", "blog", "db", "web"];
    assert_eq!(halts.look(&desired, &seen(Some(2)), true, 6_000), begins(&all, &all));
}

#[test]
fn what_crashes_because_of_something_else_is_forgiven_and_a_crash_loop_is_found_after_all() {
    let (service, mut forgiven) = (service("always"), Forgiven::default());
    let mut look = |restarts: i64, phase: Phase, begins: &Begins| {
        let instance = instance(phase, restarts);
        forgiven.look(&Observed { instances: vec![instance.clone()], ..Observed::default() }, begins);
        forgiven.crashed(&service, &instance)
    };
    assert_eq!(look(0, Phase::Running, &no()), None);
    assert_eq!(look(1, Phase::Restarting, &excused()), None);
    assert_eq!(look(1, Phase::Running, &excused()), None);
    // What it depends on runs again, but does not listen yet.
    (0..SETTLES).for_each(|_| assert_eq!(look(3, Phase::Restarting, &no()), None));
    (0..60).for_each(|_| assert_eq!(look(3, Phase::Running, &no()), None));
    assert!(look(4, Phase::Restarting, &no()).is_some());
}

#[test]
fn a_crash_of_its_own_is_told_at_once() {
    let (web, plain) = (service("always"), service("no"));
    for (service, phase, restarts) in [(&web, Phase::Running, 1), (&plain, Phase::Exited(1), 0)] {
        let (instance, mut forgiven) = (instance(phase, restarts), Forgiven::default());
        forgiven.look(&Observed { instances: vec![instance.clone()], ..Observed::default() }, &own());
        assert!(forgiven.crashed(service, &instance).is_some());
    }
}

#[test]
fn what_nobody_starts_again_after_the_engine_was_away_has_not_crashed() {
    let service = service("no");
    let desired = Desired { services: [("web".into(), service.clone())].into(), ..desired() };
    let web = instance(Phase::Exited(137), 0);
    let observed = Observed { instances: vec![web.clone()], ..Observed::default() };
    let (mut halts, mut forgiven) = (halts(500, 1_000), Forgiven::default());
    forgiven.look(&observed, &halts.look(&desired, &observed, true, 2_000));
    (0..20).for_each(|_| forgiven.look(&observed, &no()));
    assert_eq!(forgiven.crashed(&service, &web), None);
    // Once a person has started it, it may crash as any other.
    let started = Instance { condition: instance(Phase::Running, 0).condition, ..web.clone() };
    forgiven.look(&Observed { instances: vec![started], ..Observed::default() }, &no());
    assert!(forgiven.crashed(&service, &web).is_some());
    // Its successor is another one.
    let next = Instance { id: InstanceId("2".into()), ..web };
    assert!(forgiven.crashed(&service, &next).is_some());
}

#[test]
fn when_the_machine_starts_anew_what_ended_with_it_is_forgiven() {
    let services = [("db".to_owned(), service("always")), ("web".to_owned(), service("no"))];
    let desired = Desired { services: services.into(), ..desired() };
    let mut db =
        Instance { id: InstanceId("db".into()), service: "db".into(), ..instance(Phase::Running, 0) };
    db.condition.started_at = Some(8_000);
    let web = instance(Phase::Exited(137), 0);
    let observed = Observed { instances: vec![db, web], ..Observed::default() };
    let begins = halts(500, 9_000).look(&desired, &observed, false, 9_000);
    assert!(begins.excused.contains(&InstanceId("1".into())), "{begins:?}");
}

#[test]
fn what_was_forgiven_is_so_for_the_next_agent_too() {
    let service = service("always");
    let web = instance(Phase::Running, 2);
    let observed = Observed { instances: vec![web.clone()], ..Observed::default() };
    let mut met = Met { since: 500, boot: "a".into(), ..Met::default() };
    met.forgiven.look(&observed, &excused());
    let met: Met = serde_json::from_str(&serde_json::to_string(&met).unwrap()).unwrap();
    assert_eq!(met.forgiven.crashed(&service, &web), None);
    assert!(met.forgiven.crashed(&service, &instance(Phase::Running, 3)).is_some());
    assert_eq!([met.began(500, "a"), met.began(500, "b")], [Began::Earlier, Began::BeforeBoot]);
    assert_eq!(met.began(600, "b"), Began::Now);
}

#[test]
fn what_ended_or_crashed_when_the_machine_started_anew_is_forgiven_once_though_nothing_else_tells_of_that() {
    let crash = |policy: &str, phase, restarts, began| {
        let desired = Desired { services: [("web".into(), service(policy))].into(), ..desired() };
        let mut web = instance(phase, restarts);
        web.condition.started_at = Some(if phase == Phase::Running { 8_000 } else { 400 });
        let observed = Observed { instances: vec![web.clone()], ..Observed::default() };
        let (mut halts, mut forgiven) = (Halts::default(), Forgiven::default());
        halts.watch(500, began, 9_000);
        forgiven.look(&observed, &halts.look(&desired, &observed, false, 9_000));
        assert_eq!(halts.look(&desired, &observed, false, 10_000).excused, no().excused);
        forgiven.crashed(&service(policy), &web)
    };
    for (policy, phase, restarts) in [("no", Phase::Exited(137), 0), ("always", Phase::Running, 2)] {
        assert_eq!(crash(policy, phase, restarts, Began::BeforeBoot), None);
        assert!(crash(policy, phase, restarts, Began::Now).is_some());
    }
    // The engine alone was started anew.
    assert_eq!(crash("no", Phase::Exited(137), 0, Began::Earlier), None);
    assert!(crash("always", Phase::Running, 2, Began::Earlier).is_some());
}

#[test]
fn what_a_look_leaves_out_is_forgiven_by_the_first_that_does_not() {
    let desired = Desired { services: [("web".into(), service("no"))].into(), ..desired() };
    let ended = instance(Phase::Exited(137), 0);
    let whole = Observed { instances: vec![ended.clone()], ..Observed::default() };
    let (mut halts, mut forgiven) = (Halts::default(), Forgiven::default());
    halts.watch(500, Began::BeforeBoot, 9_000);
    let some = Observed::default();
    forgiven.look(&some, &halts.look_at_some(&desired, &some, false, 9_000));
    forgiven.look(&whole, &halts.look(&desired, &whole, false, 10_000));
    assert_eq!(forgiven.crashed(&service("no"), &ended), None);
}

#[test]
fn what_depends_on_something_that_was_away_answers_soon_or_is_bad() {
    let mut service = service("always");
    service.gate.timeout = Duration::from_secs(600);
    let met: Result<(), String> = Err("nothing listens on port 80".into());
    let up = instance(Phase::Running, 0);
    let mut well = Wellbeing::default();
    assert_eq!(well.look(&service, &up, Some(&met), &excused()), None);
    let told = (1..).find(|_| well.look(&service, &up, Some(&met), &no()).is_some());
    assert_eq!(told, Some(RECOVERS as usize - 1 + 3));
}
