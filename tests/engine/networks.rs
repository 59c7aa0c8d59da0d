//! The stack's networks, and that their addresses are nobody else's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use agent::engine::{Engine, EngineError};
use agent::model::instance::{Ipv6Pool, NetworkFacts, NetworkSpec};
use agent::model::subnet::Subnet;
use agent::plan::address::next_address;

use crate::yard::{BASE, IDLE, Yard};

pub(crate) async fn facts(engine: &impl Engine, yard: &Yard, spec: &NetworkSpec) -> NetworkFacts {
    engine.ensure_network(&yard.stack, spec).await.unwrap();
    engine.observe(&yard.stack).await.unwrap().networks[&spec.name].clone()
}

pub(crate) fn give(facts: &NetworkFacts, taken: &[Ipv4Addr]) -> Ipv4Addr {
    let taken: BTreeSet<_> = taken.iter().copied().collect();
    next_address(facts, taken.last().copied(), &taken).unwrap()
}

fn subnet(text: &Option<String>) -> Subnet {
    text.as_deref().unwrap().parse().unwrap()
}

pub(crate) async fn a_network_is_made_once_with_a_half_for_strangers(engine: &impl Engine, yard: &Yard) {
    let spec = yard.network();
    let made = facts(engine, yard, &spec).await;
    assert!(made.addressed, "{made:?}");
    assert_eq!(subnet(&made.subnet).upper_half(), Some(subnet(&made.ip_range)));
    let id = yard.docker(&["network", "inspect", "--format", "{{.Id}}", &spec.name]);
    assert_eq!(facts(engine, yard, &spec).await, made);
    assert_eq!(yard.docker(&["network", "inspect", "--format", "{{.Id}}", &spec.name]), id);
    let labels =
        "{{index .Labels \"com.docker.compose.project\"}} {{index .Labels \"com.docker.compose.network\"}}";
    let labels = yard.docker(&["network", "inspect", "--format", labels, &spec.name]);
    assert_eq!(labels, format!("{} default", yard.stack));

    engine.remove_networks(&yard.stack).await.unwrap();
    assert!(engine.observe(&yard.stack).await.unwrap().networks.is_empty());
}

pub(crate) async fn a_stack_may_say_its_own_subnet(engine: &impl Engine, yard: &Yard) {
    let spec = NetworkSpec { subnet: Some("10.231.7.0/26".to_owned()), internal: true, ..yard.network() };
    let made = facts(engine, yard, &spec).await;
    assert_eq!(made.ip_range.as_deref(), Some("10.231.7.32/27"));
    assert!(made.addressed);
    let range = NetworkSpec { ip_range: Some("10.231.8.0/28".to_owned()), ..spec };
    let said = NetworkSpec {
        key: "other".to_owned(),
        name: format!("{}_other", yard.stack),
        subnet: Some("10.231.8.0/24".to_owned()),
        gateway: Some("10.231.8.254".to_owned()),
        ..range
    };
    let made = facts(engine, yard, &said).await;
    assert_eq!(made.ip_range, said.ip_range);
    assert_eq!(give(&made, &[]), Ipv4Addr::new(10, 231, 8, 16));
}

pub(crate) async fn ipv6_stands_beside_addresses_of_ours(engine: &impl Engine, yard: &Yard) {
    let ipv6 = |subnet: &str| {
        Some(Ipv6Pool {
            subnet: format!("fd00:a9e:{:x}{subnet}", std::process::id() & 0xffff),
            ..Default::default()
        })
    };
    let spec = NetworkSpec { enable_ipv6: true, ipv6: ipv6(":7::/64"), ..yard.network() };
    let made = facts(engine, yard, &spec).await;
    assert!(made.addressed, "{made:?}");
    let id = yard.started(engine, &yard.networked("web", IDLE), &yard.addressed(1, give(&made, &[]))).await;
    let has = yard.inspect(&id, "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}");
    assert!(has.ends_with(":7::2"), "{has}");
    // The same, in other words.
    let same = NetworkSpec { ipv6: ipv6(":7:0:0:0:0/64"), ..spec.clone() };
    assert_eq!(facts(engine, yard, &same).await, made);
    let other = NetworkSpec { ipv6: ipv6(":8::/64"), ..spec };
    let refused = engine.ensure_network(&yard.stack, &other).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("another IPv6 subnet"))
    );
}

pub(crate) async fn networks_get_different_subnets_when_made_at_once(engine: &impl Engine, yard: &Yard) {
    let spec = |key: &str| NetworkSpec {
        key: key.to_owned(),
        name: format!("{}_{key}", yard.stack),
        ..Default::default()
    };
    let (a, b, c) = (spec("a"), spec("b"), spec("c"));
    let (a, b, c) = tokio::join!(facts(engine, yard, &a), facts(engine, yard, &b), facts(engine, yard, &c));
    let subnets: BTreeSet<_> = [&a, &b, &c].into_iter().map(|facts| subnet(&facts.subnet)).collect();
    assert_eq!(subnets.len(), 3);
    assert!(a.addressed && b.addressed && c.addressed);
}

/// As a crash between finding a subnet and taking it leaves it.
pub(crate) async fn a_network_made_by_half_is_made_whole(engine: &impl Engine, yard: &Yard) {
    let spec = yard.network();
    let label = format!("agent.stack={}", yard.stack);
    yard.docker(&["network", "create", "--label", &label, &spec.name]);
    assert!(!engine.observe(&yard.stack).await.unwrap().networks[&spec.name].addressed);
    assert!(facts(engine, yard, &spec).await.addressed);
}

pub(crate) async fn an_external_network_must_exist_and_is_left_alone(engine: &impl Engine, yard: &Yard) {
    let spec = NetworkSpec { external: true, name: yard.foreign("shared"), ..yard.network() };
    let refused = engine.ensure_network(&yard.stack, &spec).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("docker network create"))
    );
    yard.docker(&["network", "create", &spec.name]);
    engine.ensure_network(&yard.stack, &spec).await.unwrap();
    assert!(engine.observe(&yard.stack).await.unwrap().networks.is_empty());
    engine.remove_networks(&yard.stack).await.unwrap();
    yard.docker(&["network", "inspect", &spec.name]);
}

pub(crate) async fn somebody_elses_network_is_refused(engine: &impl Engine, yard: &Yard) {
    let spec = yard.network();
    yard.docker(&["network", "create", "--label", "agent.stack=agenttest-other", &spec.name]);
    let refused = engine.ensure_network(&yard.stack, &spec).await.unwrap_err();
    let said = matches!(&refused, EngineError::Refused { message, .. } if message.contains("external: true"));
    assert!(said, "{refused:?}");
}

pub(crate) async fn a_network_with_other_settings_is_refused(engine: &impl Engine, yard: &Yard) {
    let spec = yard.network();
    engine.ensure_network(&yard.stack, &spec).await.unwrap();
    let other = NetworkSpec { internal: true, ..spec };
    let refused = engine.ensure_network(&yard.stack, &other).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("another `internal`"))
    );
}

pub(crate) async fn addresses_stay_over_stop_and_start(engine: &impl Engine, yard: &Yard) {
    let address = give(&facts(engine, yard, &yard.network()).await, &[]);
    let id = yard.started(engine, &yard.networked("web", IDLE), &yard.addressed(1, address)).await;
    let network = yard.network().name;
    let held = async || yard.seen(engine, &id).await.endpoints[&network].address;
    assert_eq!(held().await, Some(address));
    engine.stop(&id).await.unwrap();
    assert_eq!(held().await, Some(address), "a stopped instance holds its address");
    engine.start(&id).await.unwrap();
    assert_eq!(held().await, Some(address));
    assert_eq!(
        yard.inspect(&id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"),
        address.to_string()
    );
}

pub(crate) async fn a_stranger_never_gets_an_address_of_ours(engine: &impl Engine, yard: &Yard) {
    let spec = NetworkSpec { subnet: Some("10.231.9.0/28".to_owned()), ..yard.network() };
    let made = facts(engine, yard, &spec).await;
    let ours = give(&made, &[]);
    let id = yard.started(engine, &yard.networked("web", IDLE), &yard.addressed(1, ours)).await;
    engine.stop(&id).await.unwrap();

    // The range holds eight addresses, of which the engine gives seven: then it refuses, rather than give ours.
    let mut given = Vec::new();
    for number in 0..9 {
        let name = yard.foreign(&number.to_string());
        let run = ["run", "-d", "--name", &name, "--network", &spec.name, BASE, "sleep", "3600"];
        if !yard.try_docker(&run).0 {
            break;
        }
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        given.push(yard.docker(&["inspect", "--format", format, &name]).parse::<Ipv4Addr>().unwrap());
    }
    let range = subnet(&made.ip_range);
    assert!(given.len() >= 6 && given.iter().all(|address| range.contains(*address)), "{given:?}");
    engine.start(&id).await.unwrap();
    assert_eq!(yard.seen(engine, &id).await.endpoints[&spec.name].address, Some(ours));
}
