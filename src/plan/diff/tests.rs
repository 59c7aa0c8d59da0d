//! Plans held against a small model of the world.

mod executed;
mod order;
mod takeover;

use proptest::prelude::*;

use super::*;
use crate::model::desired::Service;
use crate::model::instance::{Endpoint, NetworkFacts, NetworkUse, Phase, Template};

const NETWORK: &str = "shop_default";

fn service(name: &str, fingerprint: &str, replicas: u32) -> Service {
    let mut template = Template { service: name.into(), ..Template::default() };
    template.restart.policy = "unless-stopped".into();
    template.image.name = format!("shop-{name}:{fingerprint}");
    let aliases = vec![name.to_owned()];
    template.networks = vec![NetworkUse { network: NETWORK.into(), aliases, ..NetworkUse::default() }];
    Service { template, replicas, ..Service::plain(name, fingerprint) }
}

fn desired(services: Vec<Service>) -> Desired {
    Desired {
        stack: "shop".into(),
        revision: "a".repeat(40).parse().unwrap(),
        services: services.into_iter().map(|s| (s.template.service.clone(), s)).collect(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes: Vec::new(),
        nginx: Default::default(),
    }
}

fn instance(service: &Service, number: u32, address: Option<Ipv4Addr>) -> Instance {
    let name = service.template.service.clone();
    let endpoint = Endpoint { address, aliases: vec![name.clone()] };
    let phase = if service.one_shot { Phase::Exited(0) } else { Phase::Running };
    Instance {
        id: InstanceId(format!("{name}-{number}-{}", service.fingerprint)),
        fingerprint: service.fingerprint.clone(),
        endpoints: [(NETWORK.to_owned(), endpoint)].into(),
        ..Instance::plain(&name, number, phase)
    }
}

fn world(instances: Vec<Instance>) -> Observed {
    let network = NetworkFacts {
        addressed: true,
        subnet: Some("10.9.0.0/24".into()),
        gateway: Some("10.9.0.1".parse().unwrap()),
        ip_range: Some("10.9.0.128/25".into()),
    };
    Observed { instances, networks: [(NETWORK.to_owned(), network)].into(), ..Observed::default() }
}

fn planned(desired: &Desired, before: Option<&Desired>, observed: &Observed, purpose: Purpose) -> Plan {
    let (missing, addresses) = (BTreeSet::new(), BTreeMap::new());
    let shown = BTreeMap::new();
    plan(&Given {
        desired,
        before,
        observed,
        purpose,
        missing_images: &missing,
        addresses: &addresses,
        shown: &shown,
    })
}

/// The world once the plan is carried out.
fn applied(plan: &Plan, desired: &Desired, observed: &Observed) -> Observed {
    let rolled = plan.rolls.iter().flat_map(|roll| &roll.old);
    let gone: Vec<&InstanceId> =
        rolled.chain(plan.removals.iter().flat_map(|removal| &removal.old)).map(|old| &old.id).collect();
    let mut instances: Vec<Instance> =
        observed.instances.iter().filter(|i| !gone.contains(&&i.id)).cloned().collect();
    for roll in &plan.rolls {
        let service = &desired.services[&roll.service];
        let new =
            roll.new.iter().map(|new| instance(service, new.number, new.addresses.get(NETWORK).copied()));
        instances.extend(new);
    }
    world(instances)
}

#[test]
fn a_plan_lists_what_is_unchanged() {
    let desired = desired(vec![service("api", "f1", 1), service("web", "f1", 1)]);
    let observed = world(desired.services.values().map(|s| instance(s, 1, None)).collect());
    let plan = planned(&desired, Some(&desired), &observed, Purpose::Release);
    assert!(plan.is_empty());
    assert_eq!(plan.unchanged, ["api", "web"]);
}

#[test]
fn only_the_changed_service_rolls_and_the_reason_names_what_changed() {
    let before = desired(vec![service("api", "f1", 1), service("web", "f1", 1)]);
    let observed = world(before.services.values().map(|s| instance(s, 4, None)).collect());
    let mut web = service("web", "f2", 1);
    web.template.environment.insert("COLOUR".into(), "blue".into());
    let after = desired(vec![service("api", "f1", 1), web]);
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    assert_eq!(plan.unchanged, ["api"]);
    assert_eq!(plan.rolls.len(), 1);
    assert_eq!(plan.rolls[0].reason, "environment changed (COLOUR), image changed");
    assert_eq!(plan.rolls[0].new[0].number, 5);
    assert_eq!(plan.rolls[0].old[0].name, "shop-web-4");
}

#[test]
fn an_instance_that_never_passed_its_gate_is_replaced() {
    let desired = desired(vec![service("web", "f1", 1)]);
    let mut left = instance(&desired.services["web"], 2, None);
    left.endpoints.values_mut().for_each(|endpoint| endpoint.aliases.clear());
    let plan = planned(&desired, Some(&desired), &world(vec![left]), Purpose::Release);
    assert_eq!(plan.rolls[0].old.len(), 1);
    assert_eq!(plan.rolls[0].new.len(), 1);
}

#[test]
fn what_an_earlier_run_left_to_finish_is_retired_and_never_serves_again() {
    let before = desired(vec![service("web", "f2", 1)]);
    let mut left = instance(&service("web", "f1", 1), 1, Some(Ipv4Addr::new(10, 0, 0, 2)));
    left.endpoints.values_mut().for_each(|endpoint| endpoint.aliases.clear());
    let observed = world(vec![left, instance(&before.services["web"], 2, Some(Ipv4Addr::new(10, 0, 0, 3)))]);
    let serving = |plan: &Plan| plan.rolls[0].old.iter().map(|old| old.serving).collect::<Vec<_>>();

    let same = planned(&before, Some(&before), &observed, Purpose::Release);
    assert_eq!((same.rolls[0].new.len(), serving(&same)), (0, vec![false]));
    let back = desired(vec![service("web", "f1", 1)]);
    let back = planned(&back, Some(&before), &observed, Purpose::Release);
    assert_eq!((back.rolls[0].new.len(), serving(&back)), (1, vec![false, true]));
}

#[test]
fn healing_brings_back_what_is_gone_and_leaves_what_a_person_stopped() {
    let desired = desired(vec![service("api", "f1", 1), service("web", "f1", 2)]);
    let mut stopped = instance(&desired.services["api"], 1, None);
    stopped.condition.phase = Phase::Exited(137);
    let observed = world(vec![stopped, instance(&desired.services["web"], 1, None)]);
    let plan = planned(&desired, Some(&desired), &observed, Purpose::Heal);
    assert_eq!(plan.drift, ["shop-api-1 was stopped by hand"]);
    assert_eq!(plan.rolls.len(), 1);
    assert_eq!((plan.rolls[0].new.len(), plan.rolls[0].old.len()), (1, 0));
    // The next release makes everything as it says.
    let plan = planned(&desired, Some(&desired), &observed, Purpose::Release);
    assert_eq!(plan.rolls.len(), 2);
}

#[test]
fn what_the_agent_stopped_and_could_not_start_again_was_not_stopped_by_hand() {
    let desired = desired(vec![service("web", "f1", 1)]);
    let web = &desired.services["web"];
    let mut stopped = instance(web, 1, None);
    (stopped.condition.phase, stopped.let_lie) = (Phase::Exited(137), true);
    let stuck = instance(&service("web", "f2", 1), 2, None);
    let plan = planned(&desired, Some(&desired), &world(vec![stopped, stuck]), Purpose::Heal);
    assert_eq!((plan.drift.len(), plan.rolls[0].new.len(), plan.rolls[0].old.len()), (0, 1, 2));
}

#[test]
fn losing_more_than_half_of_the_services_needs_a_persons_word() {
    let before = desired(vec![service("a", "f", 1), service("b", "f", 1), service("c", "f", 1)]);
    for (left, refused) in [(2, false), (1, true), (0, true)] {
        let names = ["a", "b"].iter().take(left).map(|name| service(name, "f", 1)).collect();
        let after = desired(names);
        assert_eq!(prune_guard(&after, Some(&before)).is_some(), refused, "{left} left");
    }
}

#[test]
fn equal_builds_are_listed_once() {
    let mut desired = desired(vec![service("app", "f1", 1), service("migrate", "f1", 1)]);
    for service in desired.services.values_mut() {
        service.template.image.name = "shop-app:0123".into();
    }
    let (missing, addresses) = (BTreeSet::from(["shop-app:0123".to_owned()]), BTreeMap::new());
    let shown = BTreeMap::new();
    let observed = world(Vec::new());
    let plan = plan(&Given {
        desired: &desired,
        before: None,
        observed: &observed,
        purpose: Purpose::Release,
        missing_images: &missing,
        addresses: &addresses,
        shown: &shown,
    });
    let services = vec!["app".to_owned(), "migrate".to_owned()];
    assert_eq!(plan.builds, [Build { tag: "shop-app:0123".into(), services }]);
}

fn some_service(name: &'static str) -> impl Strategy<Value = Option<Service>> {
    let shape = ("[ab]", 0..3u32, any::<bool>());
    proptest::option::of(shape.prop_map(move |(fingerprint, replicas, one_shot)| Service {
        one_shot,
        ..service(name, &fingerprint, if one_shot { 1 } else { replicas })
    }))
}

fn some_stack() -> impl Strategy<Value = Desired> {
    (some_service("api"), some_service("db"), some_service("web"), any::<bool>()).prop_map(
        |(api, db, web, waits)| {
            let mut stack = desired([api, db, web].into_iter().flatten().collect());
            if waits && let Some(web) = stack.services.get_mut("web") {
                web.after = vec!["api".into(), "db".into()];
            }
            stack
        },
    )
}

proptest! {
    #[test]
    fn a_plan_applied_leaves_nothing_to_plan(first in some_stack(), second in some_stack()) {
        let mut seen = world(Vec::new());
        let mut before = None;
        for stack in [&first, &second, &first] {
            let plan = planned(stack, before, &seen, Purpose::Release);
            seen = applied(&plan, stack, &seen);
            let next = planned(stack, Some(stack), &seen, Purpose::Release);
            prop_assert!(next.is_empty(), "{next:?}");
            before = Some(stack);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_plan_byte_for_byte(first in some_stack(), second in some_stack()) {
        let seen = world(first.services.values().map(|s| instance(s, 1, None)).collect());
        let text = |plan: Plan| serde_json::to_string(&plan).unwrap();
        let one = text(planned(&second, Some(&first), &seen, Purpose::Release));
        prop_assert_eq!(one, text(planned(&second, Some(&first), &seen, Purpose::Release)));
    }

    #[test]
    fn no_two_instances_get_one_address(stack in some_stack()) {
        let plan = planned(&stack, None, &world(Vec::new()), Purpose::Release);
        let given: Vec<&Ipv4Addr> = plan.rolls.iter().flat_map(|r| &r.new).flat_map(|n| n.addresses.values()).collect();
        let distinct: BTreeSet<&Ipv4Addr> = given.iter().copied().collect();
        prop_assert_eq!(given.len(), distinct.len());
    }
}

#[test]
fn new_content_for_running_instances_is_a_refresh_and_no_roll() {
    let place = |content: &str| InPlace {
        target: "/etc/app".into(),
        folder: "/state/in-place/f1/0".into(),
        content: content.into(),
        signal: None,
    };
    let desired = desired(vec![Service { in_place: vec![place("/files/two")], ..service("web", "f1", 1) }]);
    let web = &desired.services["web"];
    let (missing, addresses) = (BTreeSet::new(), BTreeMap::new());
    let planned = |observed: &Observed, shown: Option<&str>| {
        let shown = shown.map(|content| ("/state/in-place/f1/0".to_owned(), content.to_owned()));
        plan(&Given {
            desired: &desired,
            before: None,
            observed,
            purpose: Purpose::Release,
            missing_images: &missing,
            addresses: &addresses,
            shown: &shown.into_iter().collect(),
        })
    };
    let runs = world(vec![instance(web, 1, None)]);
    let plan = planned(&runs, Some("/files/one"));
    let refresh =
        Refresh { service: "web".into(), what: place("/files/two"), before: Some("/files/one".into()) };
    assert_eq!((plan.rolls.len(), &plan.refreshes, plan.unchanged.len()), (0, &vec![refresh], 0));
    assert!(!plan.is_empty());

    assert!(planned(&runs, Some("/files/two")).is_empty());
    let other = service("web", "f0", 1);
    let plan = planned(&world(vec![instance(&other, 1, None)]), None);
    assert_eq!(
        (plan.rolls.len(), plan.refreshes.len()),
        (1, 0),
        "a folder of its own, filled before it starts"
    );
}

#[test]
fn one_instance_is_not_called_instances() {
    for (runs, wanted, reason) in [
        (1, 2, "1 instance too few"),
        (1, 3, "2 instances too few"),
        (2, 1, "1 instance too many"),
        (3, 1, "2 instances too many"),
    ] {
        let desired = desired(vec![service("web", "f1", wanted)]);
        let observed = world((1..=runs).map(|n| instance(&desired.services["web"], n, None)).collect());
        let plan = planned(&desired, Some(&desired), &observed, Purpose::Release);
        assert_eq!(plan.rolls[0].reason, reason);
    }
}

#[test]
fn one_that_a_person_stopped_keeps_nobody_from_mending_its_fellows() {
    let desired = desired(vec![service("web", "f1", 3)]);
    let web = &desired.services["web"];
    let mut stopped = instance(web, 1, None);
    stopped.condition.phase = Phase::Exited(143);
    let observed = world(vec![stopped.clone(), instance(web, 2, None)]);
    let plan = planned(&desired, Some(&desired), &observed, Purpose::Heal);
    assert_eq!(plan.drift, ["shop-web-1 was stopped by hand"]);
    assert_eq!((plan.rolls[0].new.len(), plan.rolls[0].old.len()), (1, 0));
    assert_eq!(plan.rolls[0].new[0].number, 3);

    let whole = world(vec![stopped, instance(web, 2, None), instance(web, 3, None)]);
    assert!(planned(&desired, Some(&desired), &whole, Purpose::Heal).is_empty());
}

#[test]
fn what_the_engine_could_not_start_is_mended() {
    let desired = desired(vec![service("web", "f1", 1)]);
    let mut refused = instance(&desired.services["web"], 1, None);
    refused.condition.phase = Phase::Exited(128);
    refused.condition.error = "driver failed programming external connectivity".into();
    let plan = planned(&desired, Some(&desired), &world(vec![refused]), Purpose::Heal);
    assert_eq!((plan.drift.len(), plan.rolls.len()), (0, 1));
}

#[test]
fn what_must_stop_first_does_so_although_it_ended_already() {
    // It has the name that its successor needs, and may come back to the port and the volume.
    let stop_first = |fingerprint| Service { order: Order::StopFirst, ..service("web", fingerprint, 1) };
    let after = desired(vec![stop_first("f2")]);
    for phase in [Phase::Exited(1), Phase::Restarting, Phase::Running] {
        let mut old = instance(&stop_first("f1"), 1, None);
        old.condition.phase = phase;
        let plan = planned(&after, None, &world(vec![old]), Purpose::Release);
        assert_eq!(plan.rolls[0].order, Order::StopFirst, "{phase:?}");
    }
}

#[test]
fn fewer_instances_are_retired_after_the_switch_whatever_the_order() {
    let web = Service { order: Order::StopFirst, ..service("web", "f1", 1) };
    let observed = world(vec![instance(&web, 1, None), instance(&web, 2, None)]);
    let plan = planned(&desired(vec![web]), None, &observed, Purpose::Release);
    assert_eq!((plan.rolls[0].new.len(), plan.rolls[0].order), (0, Order::StartFirst));
}

#[test]
fn what_has_ended_of_a_service_that_is_gone_is_no_business_of_a_plan() {
    let (api, web) = (service("api", "f1", 1), service("web", "f1", 1));
    let mut ended = instance(&api, 1, None);
    ended.condition.phase = Phase::Exited(0);
    let left = |api: Instance| {
        let desired = desired(vec![web.clone()]);
        planned(&desired, None, &world(vec![api, instance(&web, 1, None)]), Purpose::Release)
    };
    assert!(left(ended).is_empty());
    assert_eq!(left(instance(&api, 1, None)).removals.len(), 1);
}

#[test]
fn what_only_finishes_gets_no_requests() {
    let web = service("web", "f2", 1);
    let desired = desired(vec![Service { proxy: true, ..service("nginx", "f1", 1) }, web.clone()]);
    let [old, new] = ["10.9.0.2", "10.9.0.3"].map(|address| address.parse::<Ipv4Addr>().unwrap());
    let mut left = instance(&service("web", "f1", 1), 1, Some(old));
    left.endpoints.values_mut().for_each(|endpoint| endpoint.aliases.clear());
    let seen = world(vec![left, instance(&web, 2, Some(new))]);
    assert_eq!(crate::plan::upstreams::observed(&desired, &seen, |_| false)["web"], [new]);
}
