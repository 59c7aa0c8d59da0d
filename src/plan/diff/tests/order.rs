//! What starts after what; and what runs to its end, when and before whom.

use super::*;
use crate::model::instance::MountSpec;

#[test]
fn a_service_starts_after_those_it_waits_for_and_nginx_last() {
    let mut nginx = service("a-nginx", "f1", 1);
    nginx.proxy = true;
    let mut web = service("b-web", "f1", 1);
    web.after = vec!["c-migrate".into()];
    let migrate = Service { one_shot: true, ..service("c-migrate", "f1", 1) };
    let desired = desired(vec![nginx, web, migrate]);
    let plan = planned(&desired, None, &world(Vec::new()), Purpose::Release);
    let order: Vec<&str> = plan.rolls.iter().map(|roll| roll.service.as_str()).collect();
    assert_eq!(order, ["c-migrate", "b-web", "a-nginx"]);
}

fn one_shot(name: &str, fingerprint: &str) -> Service {
    Service { one_shot: true, ..service(name, fingerprint, 1) }
}

#[test]
fn a_one_shot_runs_for_each_release_that_changes_it() {
    let (first, second) = (one_shot("migrate", "f1"), one_shot("migrate", "f2"));
    let seen = world(vec![instance(&first, 1, None)]);
    let same = desired(vec![first.clone()]);
    assert!(planned(&same, Some(&same), &seen, Purpose::Release).is_empty());
    // A commit that reverts another is as new as any.
    for (before, after) in [(&first, &second), (&second, &first)] {
        let seen = world(vec![instance(before, 1, None)]);
        let (before, after) = (desired(vec![before.clone()]), desired(vec![after.clone()]));
        let plan = planned(&after, Some(&before), &seen, Purpose::Release);
        assert_eq!((plan.rolls[0].new.len(), plan.rolls[0].old.len()), (1, 1));
    }
}

#[test]
fn on_the_way_back_a_one_shot_does_not_run_again() {
    let before = desired(vec![one_shot("migrate", "f2"), service("web", "f2", 1)]);
    let seen = world(before.services.values().map(|s| instance(s, 2, None)).collect());
    let first = desired(vec![one_shot("migrate", "f1"), service("web", "f1", 1)]);
    let plan = planned(&first, Some(&before), &seen, Purpose::Again);
    assert_eq!((plan.rolls.len(), plan.rolls[0].service.as_str()), (1, "web"));
    assert_eq!(plan.unchanged, ["migrate"]);
    // What the newer release left is still there when it comes again.
    let seen = applied(&plan, &first, &seen);
    let plan = planned(&before, Some(&first), &seen, Purpose::Release);
    assert_eq!((plan.rolls.len(), plan.rolls[0].service.as_str()), (1, "web"));
}

#[test]
fn a_one_shot_of_the_current_release_has_run_whatever_became_of_its_container() {
    let migrate = one_shot("migrate", "f1");
    let with = |phase: Phase| {
        let mut left = instance(&migrate, 1, None);
        left.condition.phase = phase;
        vec![left]
    };
    let current = desired(vec![migrate.clone()]);
    for left in [Vec::new(), with(Phase::Exited(1)), with(Phase::Dead), with(Phase::Running)] {
        for purpose in [Purpose::Heal, Purpose::Again] {
            let plan = planned(&current, Some(&current), &world(left.clone()), purpose);
            assert!(plan.is_empty(), "{purpose:?}: {plan:?}");
        }
    }
}

#[test]
fn what_was_a_service_and_is_a_one_shot_again_stops() {
    let newer = instance(&service("sweep", "f2", 1), 2, None);
    let plan = planned(&desired(vec![one_shot("sweep", "f1")]), None, &world(vec![newer]), Purpose::Again);
    assert_eq!((plan.rolls[0].new.len(), plan.rolls[0].old.len()), (0, 1));
}

/// Services with what they wait for, all of them new, in the waves in which they start; those whose names begin with
/// `once` are one-shots.
fn waves(stack: &[(&str, &[&str])]) -> Vec<String> {
    let services = stack.iter().map(|(name, after)| Service {
        one_shot: name.starts_with("once"),
        proxy: *name == "nginx",
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        ..service(name, "f1", 1)
    });
    let desired = desired(services.collect());
    let plan = planned(&desired, None, &world(Vec::new()), Purpose::Release);
    let of_wave = |wave: &[Roll]| wave.iter().map(|roll| roll.service.clone()).collect::<Vec<_>>().join(" ");
    plan.rolls.chunk_by(|a, b| a.wave == b.wave).map(of_wave).collect()
}

#[test]
fn a_one_shot_ends_before_all_that_it_does_not_wait_for() {
    let stack: &[(&str, &[&str])] = &[
        ("api", &[]),
        ("db", &["disk"]),
        ("disk", &[]),
        ("nginx", &[]),
        ("once", &["db"]),
        ("web", &["api"]),
    ];
    assert_eq!(waves(stack), ["disk", "db", "once", "api", "web", "nginx"]);
    // What uses nginx comes after it.
    let stack: &[(&str, &[&str])] =
        &[("api", &[]), ("exporter", &["nginx"]), ("nginx", &["api"]), ("once", &["exporter"])];
    assert_eq!(waves(stack), ["api", "nginx", "exporter", "once"]);
    // Not where nginx only loses one of several.
    let (nginx, tunnel) = (service("nginx", "f1", 2), service("tunnel", "f1", 1));
    let nginx = Service { proxy: true, ..nginx };
    let before = desired(vec![nginx.clone(), tunnel.clone()]);
    let seen = world(
        [(&nginx, 1), (&nginx, 2), (&tunnel, 1)]
            .map(|(service, number)| instance(service, number, None))
            .into(),
    );
    let newer = Service { after: vec!["nginx".into()], fingerprint: "f2".into(), ..tunnel };
    let after = desired(vec![Service { replicas: 1, ..nginx }, newer]);
    let plan = planned(&after, Some(&before), &seen, Purpose::Release);
    let told: Vec<_> =
        plan.rolls.iter().map(|roll| (roll.service.as_str(), roll.wave, roll.new.len())).collect();
    assert_eq!(told, [("nginx", 0, 0), ("tunnel", 1, 1)]);
    assert_eq!(waves(&[("api", &[]), ("once", &[]), ("web", &[])]), ["once", "api web"]);
    // Where somebody is said to wait for it, only they do.
    assert_eq!(waves(&[("api", &[]), ("once", &[]), ("web", &["once"])]), ["once api", "web"]);
}

#[test]
fn several_one_shots_keep_their_own_order_and_make_no_circle() {
    assert_eq!(
        waves(&[("api", &[]), ("once-a", &["once-b"]), ("once-b", &[]), ("once-c", &[])]),
        ["once-b once-c", "once-a", "api"]
    );
    // One warms up what the other must have come before.
    assert_eq!(
        waves(&[("api", &[]), ("once-a", &["web"]), ("once-b", &[]), ("web", &[])]),
        ["once-b", "web", "once-a", "api"]
    );
    assert_eq!(
        waves(&[("api", &[]), ("once-a", &["api"]), ("once-b", &["web"]), ("web", &[]), ("z", &[])]),
        ["api", "once-a", "web", "once-b", "z"]
    );
}

#[test]
fn what_shares_the_network_of_one_that_was_started_again_is_replaced() {
    let mut mesh = Service { follows: vec!["app".into()], ..service("mesh", "f1", 1) };
    mesh.template.network_mode = Some("service:app".into());
    mesh.template.networks.clear();
    let stack = desired(vec![service("app", "f1", 2), mesh]);
    let mut seen: Vec<Instance> = [("app", 1), ("app", 2), ("mesh", 1)]
        .map(|(name, number)| instance(&stack.services[name], number, None))
        .into();
    let mut rolled = |started: [i64; 3]| {
        for (instance, at) in seen.iter_mut().zip(started) {
            instance.condition.started_at = Some(at);
        }
        let plan = planned(&stack, Some(&stack), &world(seen.clone()), Purpose::Heal);
        plan.rolls.into_iter().map(|roll| (roll.service, roll.reason)).collect::<Vec<_>>()
    };
    assert_eq!(rolled([1, 2, 3]), []);
    assert_eq!(rolled([1, 5, 3]), [], "it may be the other's");
    let reason = "what it shares the network or the processes of was started again";
    assert_eq!(rolled([4, 5, 3]), [("mesh".to_owned(), reason.to_owned())]);
}

#[test]
fn one_on_no_network_of_the_stack_serves_until_it_is_stopped() {
    let mut old = service("web", "f1", 1);
    old.template.network_mode = Some("bridge".into());
    old.template.networks.clear();
    let mut seen = instance(&old, 1, Some([172, 17, 0, 2].into()));
    seen.endpoints.values_mut().for_each(|endpoint| endpoint.aliases.clear());
    let serving = |seen: &Instance| {
        let newer = Service { fingerprint: "f2".into(), ..old.clone() };
        let before = desired(vec![old.clone()]);
        let plan =
            planned(&desired(vec![newer]), Some(&before), &world(vec![seen.clone()]), Purpose::Release);
        plan.rolls[0].old[0].serving
    };
    assert!(!serving(&seen), "on a network that gives names it has lost its own");
    seen.nameless = true;
    assert!(serving(&seen));
}

#[test]
fn what_an_anonymous_volume_holds_is_taken_over_and_never_written_to_by_two() {
    let before = desired(vec![service("db", "f1", 2)]);
    let mut seen: Vec<Instance> =
        (1..=2).map(|number| instance(&before.services["db"], number, None)).collect();
    let volume = |name: &str| BTreeMap::from([("/data".to_owned(), name.to_owned())]);
    (seen[0].volumes, seen[1].volumes) = (volume("v1"), volume("v2"));
    let observed = world(seen);
    let after = desired(vec![service("db", "f2", 2)]);
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    let roll = &plan.rolls[0];
    assert_eq!(
        (roll.order, roll.order_reason.as_str()),
        (Order::StopFirst, "writes to the anonymous volume at /data")
    );
    assert_eq!([&roll.new[0].volumes, &roll.new[1].volumes], [&volume("v2"), &volume("v1")]);

    let mut named = service("db", "f2", 1);
    named.template.mounts.push(MountSpec::Volume {
        name: Some("shop_data".into()),
        target: "/data".into(),
        read_only: false,
        nocopy: false,
    });
    let plan = planned(&desired(vec![named]), Some(&before), &observed, Purpose::Release);
    assert!(plan.rolls[0].new[0].volumes.is_empty(), "the stack says what belongs there");
    let once = Service { one_shot: true, ..service("db", "f2", 1) };
    let plan = planned(&desired(vec![once]), Some(&before), &observed, Purpose::Release);
    assert!(plan.rolls[0].new[0].volumes.is_empty());
}

#[test]
fn what_shares_a_namespace_is_replaced_with_its_owner() {
    let follower = |name: &str, of: &str| Service {
        follows: vec![of.into()],
        after: vec![of.into()],
        ..service(name, "f1", 1)
    };
    let before = desired(vec![service("app", "f1", 1), follower("mesh", "app"), follower("logs", "mesh")]);
    let seen: Vec<Instance> = before.services.values().map(|s| instance(s, 1, None)).collect();
    let mut after = before.clone();
    after.services.insert("app".into(), service("app", "f2", 1));
    let plan = planned(&after, Some(&before), &world(seen.clone()), Purpose::Release);
    let told: Vec<_> = plan.rolls.iter().map(|roll| (roll.service.as_str(), roll.old.len())).collect();
    assert_eq!(told, [("app", 1), ("mesh", 1), ("logs", 1)]);
    assert_eq!(plan.rolls[1].reason, "goes with app, which is replaced");
    // Also where what it shares is gone; not where only one more of it comes.
    let gone = world(seen[1..].to_vec());
    assert_eq!(planned(&before, Some(&before), &gone, Purpose::Heal).rolls.len(), 3);
    let mut more = before.clone();
    more.services.get_mut("app").unwrap().replicas = 2;
    assert_eq!(planned(&more, Some(&before), &world(seen), Purpose::Release).rolls.len(), 1);
}
