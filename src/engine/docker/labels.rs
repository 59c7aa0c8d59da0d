//! Labels: compose's, so that people's tools see a compose project, and the agent's own, by which it knows
//! what is its own.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use crate::model::instance::{Identity, Template};

/// On everything the agent makes; its value is the stack's name. What lacks it is never listed or removed.
pub(super) const STACK: &str = "agent.stack";
/// On throw-away containers, in place of [`STACK`]: they are no instances of the stack.
pub(super) const ASIDE: &str = "agent.aside";
pub(super) const RUN: &str = "agent.run";
pub(super) const REVISION: &str = "agent.revision";
pub(super) const FINGERPRINT: &str = "agent.fingerprint";
/// The networks an instance belongs to, with its fixed addresses. The engine forgets both while an instance
/// is off a network, which is where a crash in the middle of an admission leaves it.
pub(super) const NETWORKS: &str = "agent.networks";

pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const NUMBER: &str = "com.docker.compose.container-number";
pub(super) const NETWORK: &str = "com.docker.compose.network";
pub(super) const VOLUME: &str = "com.docker.compose.volume";
const ONEOFF: &str = "com.docker.compose.oneoff";
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
const VERSION: &str = "com.docker.compose.version";
const IMAGE: &str = "com.docker.compose.image";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The filter by which the engine lists one stack's things.
pub(super) fn of_stack(stack: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{STACK}={stack}")])])
}

pub(super) fn of_instance(template: &Template, identity: &Identity, image: &str) -> HashMap<String, String> {
    let own = [
        (STACK, identity.stack.clone()),
        (RUN, identity.run.to_string()),
        (REVISION, identity.revision.to_string()),
        (FINGERPRINT, identity.fingerprint.clone()),
        (NETWORKS, write_networks(&addresses(template, identity))),
        (PROJECT, identity.stack.clone()),
        (SERVICE, template.service.clone()),
        (NUMBER, identity.number.to_string()),
        (ONEOFF, "False".to_owned()),
        (CONFIG_HASH, identity.fingerprint.clone()),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (IMAGE, image.to_owned()),
        (DEPENDS_ON, template.depends_on.join(",")),
    ];
    with(&template.labels, own)
}

/// For networks, volumes and images: the user's labels and what makes them the stack's.
pub(super) fn of_thing(
    stack: &str,
    user: &BTreeMap<String, String>,
    compose: Option<(&str, &str)>,
) -> HashMap<String, String> {
    let mut labels = with(user, [(STACK, stack.to_owned())]);
    if let Some((label, key)) = compose {
        labels.insert(PROJECT.to_owned(), stack.to_owned());
        labels.insert(label.to_owned(), key.to_owned());
    }
    labels
}

/// Ours win: a repository cannot claim another stack's name.
fn with<const N: usize>(
    user: &BTreeMap<String, String>,
    own: [(&str, String); N],
) -> HashMap<String, String> {
    let user = user.iter().map(|(key, value)| (key.clone(), value.clone()));
    user.chain(own.map(|(key, value)| (key.to_owned(), value))).collect()
}

/// The address an instance has on each of its networks; `None` where the engine chooses.
pub(super) fn addresses(template: &Template, identity: &Identity) -> BTreeMap<String, Option<Ipv4Addr>> {
    let address = |network: &str| identity.addresses.get(network).copied();
    template.networks.iter().map(|n| (n.network.clone(), n.address.or_else(|| address(&n.network)))).collect()
}

/// `front=172.20.0.5 shared=`. The engine allows no space or `=` in a network's name.
fn write_networks(networks: &BTreeMap<String, Option<Ipv4Addr>>) -> String {
    let one = |(name, address): (&String, &Option<Ipv4Addr>)| {
        format!("{name}={}", address.map(|address| address.to_string()).unwrap_or_default())
    };
    networks.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(super) fn read_networks(label: &str) -> BTreeMap<String, Option<Ipv4Addr>> {
    let pairs = label.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, address)| (name.to_owned(), address.parse().ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_survive_their_label() {
        let networks = BTreeMap::from([
            ("shop_default".to_owned(), Some(Ipv4Addr::new(172, 20, 0, 5))),
            ("shared".to_owned(), None),
        ]);
        assert_eq!(read_networks(&write_networks(&networks)), networks);
        assert_eq!(read_networks(""), BTreeMap::new());
    }

    #[test]
    fn a_repository_cannot_claim_another_stack() {
        let user = BTreeMap::from([(STACK.to_owned(), "other".to_owned()), ("a".to_owned(), "b".to_owned())]);
        let labels = of_thing("shop", &user, Some((VOLUME, "data")));
        assert_eq!(labels[STACK], "shop");
        assert_eq!(labels[PROJECT], "shop");
        assert_eq!(labels[VOLUME], "data");
        assert_eq!(labels["a"], "b");
    }
}
