use super::*;
use crate::model::instance::{Endpoint, NetworkUse, Phase, Template};

fn service() -> Service {
    let networks = vec![NetworkUse { network: "shop_default".into(), ..NetworkUse::default() }];
    let plain = Service::plain("web", "f");
    Service { template: Template { networks, ..plain.template.clone() }, ..plain }
}

fn instance(number: u32, run: i64, admitted: bool, phase: Phase) -> Instance {
    let aliases = if admitted { vec!["web".to_owned()] } else { Vec::new() };
    let endpoint = Endpoint { address: Some([172, 20, 0, number as u8].into()), aliases };
    Instance {
        run: RunId(run),
        endpoints: [("shop_default".to_owned(), endpoint)].into(),
        ..Instance::plain("web", number, phase)
    }
}

/// The last parts of the addresses that may be asked.
fn asked(instances: &[Instance], rolling: Option<&Rolling>) -> Result<Vec<u8>, String> {
    let observed = Observed { instances: instances.to_vec(), ..Observed::default() };
    match standing("shop", &service(), &observed, rolling) {
        Standing::At(addresses) => Ok(addresses.iter().map(|address| address.octets()[3]).collect()),
        Standing::Away(why) => Err(why),
    }
}

fn bringing_up(order: Order) -> Entry {
    Entry::BringingUp { service: "web".into(), name: "shop-web-2".into(), order: order.to_string() }
}

fn passed() -> Entry {
    Entry::Passed { service: "web".into(), name: "shop-web-2".into(), millis: 1, warning: None }
}

#[test]
fn only_healthy_and_admitted_instances_are_asked() {
    let running = instance(1, 1, true, Phase::Running);
    assert_eq!(asked(&[running.clone(), instance(2, 1, false, Phase::Running)], None), Ok(vec![1]));
    assert_eq!(asked(&[instance(1, 1, true, Phase::Exited(0))], None), Err("it does not run".into()));
    for health in [Health::Starting, Health::Unhealthy] {
        let mut ill = running.clone();
        ill.condition.health = Some(health);
        assert_eq!(asked(&[ill], None), Err("no instance of it is healthy".into()));
    }
}

#[test]
fn in_a_start_first_roll_the_service_is_never_away() {
    let mut rolling = Rolling::new(RunId(2));
    assert!(!rolling.note(&bringing_up(Order::StartFirst)));
    let old = instance(1, 1, true, Phase::Running);
    let new = |admitted| instance(2, 2, admitted, Phase::Running);
    assert_eq!(asked(&[old.clone(), new(false)], Some(&rolling)), Ok(vec![1]));
    assert!(!rolling.note(&passed()));
    // Callers in the stack may find it; the run may still be taken back.
    assert_eq!(asked(&[old.clone(), new(true)], Some(&rolling)), Ok(vec![1]));
    assert!(rolling.note(&Entry::Switched));
    assert_eq!(asked(&[old, new(true)], Some(&rolling)), Ok(vec![2]));
}

#[test]
fn in_a_stop_first_roll_it_is_away_until_the_new_one_has_passed() {
    let mut rolling = Rolling::new(RunId(2));
    assert!(rolling.note(&bringing_up(Order::StopFirst)));
    let old = |phase| instance(1, 1, true, phase);
    let new = instance(2, 2, false, Phase::Running);
    // Before it is stopped, and although the engine finds the new one by its name already.
    assert_eq!(asked(&[old(Phase::Running)], Some(&rolling)), Err("it is being replaced".into()));
    let early = instance(2, 2, true, Phase::Running);
    assert_eq!(asked(&[old(Phase::Exited(0)), early], Some(&rolling)), Err("it is being replaced".into()));
    assert!(rolling.note(&passed()));
    assert_eq!(asked(&[old(Phase::Exited(0)), new], Some(&rolling)), Ok(vec![2]));
}

#[test]
fn when_a_roll_is_taken_back_the_old_one_is_asked_again() {
    for order in [Order::StartFirst, Order::StopFirst] {
        let mut rolling = Rolling::new(RunId(2));
        rolling.note(&bringing_up(order));
        rolling.note(&passed());
        assert!(rolling.note(&Entry::Reverting { reason: "another one failed".into() }));
        let both = [instance(1, 1, true, Phase::Running), instance(2, 2, true, Phase::Running)];
        assert_eq!(asked(&both, Some(&rolling)), Ok(vec![1]), "{order}");
    }
}
