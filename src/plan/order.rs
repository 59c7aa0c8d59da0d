//! Start-first or stop-first, and why. Pure.

use crate::model::desired::Order;
use crate::model::project::{Mount, MountSource, Service};

/// Why a service is replaced in the order that its `deploy.update_config.order` names.
pub const WISHED: &str = "deploy.update_config.order says so";

/// The order in which a service's instances are replaced, with the reason in words for people.
///
/// What makes two instances side by side impossible comes first: no wish can change it. Then the wish
/// (`deploy.update_config.order`). Then what makes two instances side by side dangerous for data.
pub fn order(service: &Service, replicas: u32) -> (Order, String) {
    if let Some(reason) = impossible(service) {
        return (Order::StopFirst, reason);
    }
    let wish = service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref()?.order.as_deref());
    match wish {
        Some("stop-first") => return (Order::StopFirst, WISHED.into()),
        Some(_) => return (Order::StartFirst, WISHED.into()),
        None => {}
    }
    if replicas == 1
        && let Some(reason) = service.volumes.iter().find_map(dangerous)
    {
        return (Order::StopFirst, reason);
    }
    (Order::StartFirst, "nothing stands against two instances side by side".into())
}

fn impossible(service: &Service) -> Option<String> {
    if let Some(name) = &service.container_name {
        return Some(format!("container_name fixes the name {name}"));
    }
    if let Some(mode) = &service.network_mode
        && mode != "none"
    {
        return Some(format!("network_mode {mode} shares ports with others"));
    }
    if let Some(port) = service.ports.iter().find_map(|port| port.published.as_deref()) {
        return Some(format!("publishes port {port} of the host, which only one can hold"));
    }
    let fixed = service.networks.values().find_map(|network| network.ipv4_address.as_deref());
    if let Some(address) = fixed {
        return Some(format!("ipv4_address fixes {address}"));
    }
    let fixed = service.networks.values().find_map(|network| network.mac_address.as_deref());
    fixed.map(|address| format!("mac_address fixes {address}"))
}

fn dangerous(mount: &Mount) -> Option<String> {
    if mount.read_only {
        return None;
    }
    match &mount.source {
        MountSource::Volume(name) => Some(format!("writes to the volume {name}")),
        MountSource::Host(path) => Some(format!("writes to the host's {path}")),
        // What comes next takes it over.
        MountSource::Anonymous => Some(format!("writes to the anonymous volume at {}", mount.target)),
        MountSource::Repository(_) | MountSource::Tmpfs => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::place::Place;
    use crate::model::project::{Attachment, Deploy, MountOptions, Port, UpdateConfig};

    fn mount(source: MountSource, read_only: bool) -> Mount {
        Mount {
            place: Place::default(),
            source,
            target: "/x".into(),
            read_only,
            options: MountOptions::default(),
        }
    }

    fn wish(order: &str) -> Option<Deploy> {
        let update_config = Some(UpdateConfig { order: Some(order.into()), ..UpdateConfig::default() });
        Some(Deploy { update_config, ..Deploy::default() })
    }

    #[test]
    fn a_plain_service_starts_first() {
        assert_eq!(order(&Service::default(), 1).0, Order::StartFirst);
    }

    #[test]
    fn a_published_port_stops_first_even_against_the_wish() {
        let port = Port { target: 80, published: Some("8080".into()), ..Port::default() };
        let service = Service { ports: vec![port], deploy: wish("start-first"), ..Service::default() };
        let (order, reason) = order(&service, 1);
        assert_eq!(order, Order::StopFirst);
        assert_eq!(reason, "publishes port 8080 of the host, which only one can hold");
    }

    #[test]
    fn a_fixed_name_network_or_address_stops_first() {
        let named = Service { container_name: Some("db".into()), ..Service::default() };
        assert_eq!(order(&named, 1), (Order::StopFirst, "container_name fixes the name db".into()));
        let host = Service { network_mode: Some("host".into()), ..Service::default() };
        assert_eq!(order(&host, 1), (Order::StopFirst, "network_mode host shares ports with others".into()));
        let alone = Service { network_mode: Some("none".into()), ..Service::default() };
        assert_eq!(order(&alone, 1).0, Order::StartFirst);
        let attached = Attachment { ipv4_address: Some("10.9.0.7".into()), ..Attachment::default() };
        let fixed = Service { networks: [("default".to_owned(), attached)].into(), ..Service::default() };
        assert_eq!(order(&fixed, 1), (Order::StopFirst, "ipv4_address fixes 10.9.0.7".into()));
        let attached = Attachment { mac_address: Some("02:42:ac:11:00:07".into()), ..Attachment::default() };
        let fixed = Service { networks: [("default".to_owned(), attached)].into(), ..Service::default() };
        assert_eq!(order(&fixed, 1), (Order::StopFirst, "mac_address fixes 02:42:ac:11:00:07".into()));
    }

    #[test]
    fn a_writable_folder_of_the_host_stops_first() {
        let bind = |read_only| Service {
            volumes: vec![mount(MountSource::Host("/srv/db".into()), read_only)],
            ..Service::default()
        };
        assert_eq!(order(&bind(false), 1), (Order::StopFirst, "writes to the host's /srv/db".into()));
        assert_eq!(order(&bind(true), 1).0, Order::StartFirst);
    }

    #[test]
    fn a_writable_volume_stops_first_unless_the_wish_says_otherwise() {
        let volumes = vec![mount(MountSource::Volume("data".into()), false)];
        let service = Service { volumes: volumes.clone(), ..Service::default() };
        assert_eq!(order(&service, 1).0, Order::StopFirst);
        assert_eq!(order(&service, 2).0, Order::StartFirst);
        let service = Service { volumes, deploy: wish("start-first"), ..Service::default() };
        assert_eq!(order(&service, 1).0, Order::StartFirst);
    }

    #[test]
    fn a_read_only_volume_starts_first() {
        let volumes = vec![mount(MountSource::Volume("data".into()), true)];
        assert_eq!(order(&Service { volumes, ..Service::default() }, 1).0, Order::StartFirst);
    }
}
