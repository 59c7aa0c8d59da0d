//! Where each route leads, as the configuration says it: in comments, because nginx does not read it there. Whoever
//! makes the text live makes these links first, and nginx follows them at each request, so that an instance takes over
//! from another in one instant, for all workers and kept connections, and without a reload.
//!
//! A service of several instances has a link too, which leads to an upstream block of the text. It has a name for just
//! these instances, because workers with another text know another block: theirs are led to a single instance, which any
//! worker finds ([`with_others`]).

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use sha2::{Digest, Sha256};

/// The instances that each name leads to; none for a service without one.
pub type Links = BTreeMap<String, Vec<SocketAddrV4>>;

/// These links, and those of another text that workers may still go by: to the first instance of the same upstream, alone
/// for as long as they do, because a block of the other text may be of instances that have stopped. What these do not know
/// leads where it led.
pub fn with_others(links: &Links, others: &Links) -> Links {
    let one = |name: &str| {
        let same = links.iter().find(|(link, _)| upstream_of(link) == upstream_of(name));
        same.map(|(_, to)| to.iter().take(1).copied().collect())
    };
    let others = others.iter().map(|(name, to)| (name.clone(), one(name).unwrap_or_else(|| to.clone())));
    others.chain(links.clone()).collect()
}

const MARK: &str = "# live/";
const LEADS: &str = " leads to ";
pub(super) const NOWHERE: &str = "nowhere";
/// Between instances. Like all that a template prints it is of the alphabet that is no syntax.
pub(super) const AND: &str = "/";
/// In front of an upstream's name, in the name of the file that a link to several instances leads to.
pub const SEVERAL: &str = "pool-";
/// Before what tells one link to several instances from the next. No upstream has it in its name.
const OF: char = '~';

/// The link of what an upstream's name stands for, to these instances.
pub(super) fn link_name(upstream: &str, to: &str) -> String {
    if !to.contains(AND) {
        return upstream.to_owned();
    }
    format!("{upstream}{OF}{}", hex::encode(&Sha256::digest(to)[..4]))
}

/// The upstream that a link stands for.
pub fn upstream_of(link: &str) -> &str {
    link.split_once(OF).map_or(link, |(upstream, _)| upstream)
}

/// The links that a configuration is written for. A name that could not be one in a folder is passed over, as is
/// what only looks like a link.
pub fn links(text: &str) -> Links {
    text.lines().filter_map(link).collect()
}

fn link(line: &str) -> Option<(String, Vec<SocketAddrV4>)> {
    let (name, to) = line.trim().strip_prefix(MARK)?.split_once(LEADS)?;
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    let to = match to {
        NOWHERE => Vec::new(),
        _ => to.split(AND).map(str::parse).collect::<Result<_, _>>().ok()?,
    };
    plain.then(|| (name.to_owned(), to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_their_comments() {
        let text = "http {\n    # live/web_8000 leads to 172.20.0.5:8000\n    # live/gone_1 leads to nowhere\n    \
             # live/two_1~0 leads to 172.20.0.5:1/172.20.0.6:1\n}\n";
        let at = |text: &str| text.parse().unwrap();
        let expected = [
            ("web_8000".into(), vec![at("172.20.0.5:8000")]),
            ("gone_1".into(), vec![]),
            ("two_1~0".into(), vec![at("172.20.0.5:1"), at("172.20.0.6:1")]),
        ];
        assert_eq!(links(text), Links::from(expected));
    }

    #[test]
    fn a_link_to_several_has_a_name_for_just_these() {
        let (one, two) = ("172.20.0.5:1", "172.20.0.5:1/172.20.0.6:1");
        assert_eq!(link_name("web_1", one), "web_1");
        assert_eq!(link_name("web_1", NOWHERE), "web_1");
        let several = link_name("web_1", two);
        assert_ne!(several, link_name("web_1", "172.20.0.5:1/172.20.0.7:1"));
        assert_eq!((upstream_of(&several), upstream_of("web_1")), ("web_1", "web_1"));
    }

    #[test]
    fn whoever_goes_by_other_links_is_led_to_one_instance_that_is_there_now() {
        let at =
            |text: &str| -> Vec<SocketAddrV4> { text.split(AND).map(|at| at.parse().unwrap()).collect() };
        let (one, several, next) =
            (at("10.0.0.1:1"), at("10.0.0.2:1/10.0.0.3:1"), at("10.0.0.4:1/10.0.0.5:1"));
        let links = |links: &[(&str, &Vec<SocketAddrV4>)]| -> Links {
            links.iter().map(|(name, to)| ((*name).to_owned(), (*to).clone())).collect()
        };
        let (first, second) = (links(&[("web_1", &one), ("gone_1", &one)]), links(&[("web_1~2", &several)]));
        let third = links(&[("web_1~3", &next)]);
        let led = links(&[("web_1~2", &several), ("web_1", &at("10.0.0.2:1")), ("gone_1", &one)]);
        assert_eq!(with_others(&second, &first), led);
        let led = links(&[("web_1~3", &next), ("web_1~2", &at("10.0.0.4:1"))]);
        assert_eq!(with_others(&third, &second), led);
        assert_eq!(
            with_others(&links(&[("web_1", &one)]), &second),
            links(&[("web_1", &one), ("web_1~2", &one)])
        );
        assert_eq!(with_others(&second, &second), second);
    }

    #[test]
    fn what_is_no_link_is_passed_over() {
        for bad in [
            "# live/../x leads to nowhere",
            "# live/ leads to nowhere",
            "# live/a leads to b",
            "# live/a leads to 172.20.0.5:1/b",
            "live/a leads to nowhere",
        ] {
            assert_eq!(links(bad), Links::new(), "{bad}");
        }
    }
}
