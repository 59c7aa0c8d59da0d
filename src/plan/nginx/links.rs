//! Which instance each route leads to, as the configuration says it: in comments, because nginx does not read it
//! there. Whoever makes the text live makes these links first, and nginx follows them at each request, so that an
//! instance takes over from another in one instant, for all workers and kept connections, and without a reload.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

/// Where each name leads; `None` is nowhere, for a service without an instance.
pub type Links = BTreeMap<String, Option<SocketAddrV4>>;

/// The link of a service's port.
pub fn link_name(service: &str, port: u16) -> String {
    super::render::pool_name(service, port)
}

const MARK: &str = "# live/";
const LEADS: &str = " leads to ";
pub(super) const NOWHERE: &str = "nowhere";

/// The links that a configuration is written for. A name that could not be one in a folder is passed over, as is
/// what only looks like a link.
pub fn links(text: &str) -> Links {
    text.lines().filter_map(link).collect()
}

fn link(line: &str) -> Option<(String, Option<SocketAddrV4>)> {
    let (name, to) = line.trim().strip_prefix(MARK)?.split_once(LEADS)?;
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    let to = if to == NOWHERE { None } else { Some(to.parse().ok()?) };
    plain.then(|| (name.to_owned(), to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_their_comments() {
        let text =
            "http {\n    # live/web_8000 leads to 172.20.0.5:8000\n    # live/gone_1 leads to nowhere\n}\n";
        let at = "172.20.0.5:8000".parse().unwrap();
        assert_eq!(links(text), Links::from([("web_8000".into(), Some(at)), ("gone_1".into(), None)]));
    }

    #[test]
    fn what_is_no_link_is_passed_over() {
        for bad in [
            "# live/../x leads to nowhere",
            "# live/ leads to nowhere",
            "# live/a leads to b",
            "live/a leads to nowhere",
        ] {
            assert_eq!(links(bad), Links::new(), "{bad}");
        }
    }
}
