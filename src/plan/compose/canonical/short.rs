//! Short forms of ports, mounts, devices and their like, written out as mappings.

use super::super::problem::Problem;
use super::super::schema::Short;
use super::super::tree::{Node, Value};
use super::Canonical;

impl Canonical<'_> {
    /// A mapping as it is, a short form as the mapping it stands for.
    pub(super) fn written_out(&mut self, node: Node, short: Short, path: &str) -> Option<Node> {
        if matches!(node.value, Value::Map(_)) {
            return match short {
                Short::Mount => self.long_mount(node, path),
                Short::External => Some(node.with("external", Value::Bool(true))),
                _ => Some(node),
            };
        }
        match short {
            Short::None | Short::Port => self.wrong(&node, path, "a mapping"),
            Short::External => {
                let place = node.place.clone();
                Some(Node::map(&place).with("external", node.value))
            }
            Short::Key(key) => {
                let text = self.text_of(&node, path)?;
                Some(Node::map(&node.place).with(key, Value::Text(text)))
            }
            Short::Mount => self.short_mount(&node, path),
            Short::Device => self.device(&node, path),
        }
    }

    fn device(&mut self, node: &Node, path: &str) -> Option<Node> {
        let text = self.text_of(node, path)?;
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().unwrap_or(source);
        let permissions = parts.next().unwrap_or("rwm");
        if source.is_empty() || target.is_empty() || parts.next().is_some() {
            return self.malformed(node, path, "`HOST[:CONTAINER[:PERMISSIONS]]`");
        }
        let text = |text: &str| Value::Text(text.to_owned());
        let node = Node::map(&node.place).with("source", text(source)).with("target", text(target));
        Some(node.with("permissions", text(permissions)))
    }

    /// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`; ranges become one mapping a port.
    pub(super) fn ports(&mut self, node: Node, path: &str) -> Vec<Node> {
        if matches!(node.value, Value::Map(_)) {
            return vec![node];
        }
        let Some(text) = node.word() else {
            self.wrong::<()>(&node, path, "a port or a mapping");
            return Vec::new();
        };
        match short_ports(&text) {
            Some(ports) => ports.iter().map(|port| port.written_out(&node)).collect(),
            None => {
                self.malformed::<()>(&node, path, "`[[IP:]HOST:]CONTAINER[/PROTOCOL]`");
                Vec::new()
            }
        }
    }

    /// `[SOURCE:]TARGET[:MODE]`.
    fn short_mount(&mut self, node: &Node, path: &str) -> Option<Node> {
        let text = self.text_of(node, path)?;
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, modes) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, modes] => (Some(source), target, modes),
            _ => return self.malformed(node, path, "`[SOURCE:]TARGET[:MODE]`"),
        };
        if target.is_empty() || source.is_some_and(str::is_empty) {
            return self.malformed(node, path, "`[SOURCE:]TARGET[:MODE]`");
        }
        let bind = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
        let mut out = Node::map(&node.place);
        let value = |text: &str| Value::Text(text.to_owned());
        out = out.with("type", value(if bind { "bind" } else { "volume" })).with("target", value(target));
        if let Some(source) = source {
            out = out.with("source", value(source));
        }
        let mut options = Node::map(&node.place);
        if bind {
            options = options.with("create_host_path", Value::Bool(true));
        }
        for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
            match mode {
                "ro" => out = out.with("read_only", Value::Bool(true)),
                "rw" => {}
                "z" | "Z" if bind => options = options.with("selinux", value(mode)),
                "z" | "Z" => {}
                "nocopy" if !bind => options = options.with("nocopy", Value::Bool(true)),
                _ if bind => options = options.with("propagation", value(mode)),
                _ => return self.malformed(node, path, "a mode such as `ro`, `rw`, `z` or `nocopy`"),
            }
        }
        self.mount_source(out.with(if bind { "bind" } else { "volume" }, options.value), path)
    }

    fn long_mount(&mut self, node: Node, path: &str) -> Option<Node> {
        if node.get("type").is_none() {
            let problem = Problem::new(node.place.clone(), format!("`{path}`: a mount needs a `type`"));
            self.log.problem(problem.hint("write `type: bind`, `type: volume` or `type: tmpfs`"));
            return None;
        }
        self.mount_source(node, path)
    }

    /// A bind's source is a path, a volume's is a name.
    fn mount_source(&mut self, mut node: Node, path: &str) -> Option<Node> {
        let bind = node.get("type").and_then(Node::as_text) == Some("bind");
        if bind && let Some(source) = node.get("source").cloned() {
            let resolved = self.path_of(&source, path)?;
            node.set("source", Node::text(&source.place, resolved));
        }
        Some(node)
    }

    fn malformed<T>(&mut self, node: &Node, path: &str, form: &str) -> Option<T> {
        let word = node.word().unwrap_or_default();
        let message = format!("`{path}`: `{word}` is not of the form {form}");
        self.log.problem(Problem::new(node.place.clone(), message));
        None
    }
}

#[derive(Debug, PartialEq)]
struct ShortPort {
    host_ip: Option<String>,
    published: Option<String>,
    target: u16,
    protocol: String,
}

impl ShortPort {
    fn written_out(&self, node: &Node) -> Node {
        let mut out = Node::map(&node.place)
            .with("mode", Value::Text("ingress".to_owned()))
            .with("target", Value::Int(self.target.into()))
            .with("protocol", Value::Text(self.protocol.clone()));
        for (key, value) in [("host_ip", &self.host_ip), ("published", &self.published)] {
            if let Some(value) = value {
                out = out.with(key, Value::Text(value.clone()));
            }
        }
        out
    }
}

fn short_ports(text: &str) -> Option<Vec<ShortPort>> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (before, container) = match rest.rsplit_once(':') {
        Some((before, container)) => (Some(before), container),
        None => (None, rest),
    };
    let (host_ip, host) = match before.map(|before| before.rsplit_once(':').unwrap_or(("", before))) {
        Some((ip, host)) => (ip, host),
        None => ("", ""),
    };
    let ip = ip_text(host_ip)?;
    let (first, last) = range(container)?;
    let published: Vec<Option<String>> = if host.is_empty() {
        vec![None; usize::from(last - first) + 1]
    } else {
        let (low, high) = range(host)?;
        if first == last && low != high {
            // One container port, a choice of host ports: the engine picks.
            vec![Some(host.to_owned())]
        } else if high - low == last - first {
            (low..=high).map(|port| Some(port.to_string())).collect()
        } else {
            return None;
        }
    };
    let ports = (first..=last).zip(published).map(|(target, published)| ShortPort {
        host_ip: ip.clone(),
        published,
        target,
        protocol: protocol.clone(),
    });
    Some(ports.collect())
}

/// No address, or a valid one without brackets.
fn ip_text(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<std::net::IpAddr>().ok().map(|_| Some(bare.to_owned()))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (low, high) = (port(low)?, port(high)?);
    (low <= high && high > 0).then_some((low, high))
}
