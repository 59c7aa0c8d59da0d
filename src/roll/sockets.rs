//! The TCP sockets of an instance, as the kernel lists them for its network namespace: what it listens on, and
//! what is still open. Read from `/proc/PID/net`, so no tool in the image is needed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";
const LISTEN: &str = "0A";

struct Socket {
    state: String,
    /// Local.
    port: u16,
    /// By a program: one that still waits to be accepted is nobody's, and what is asked on it has not begun.
    taken: bool,
    /// Docker's own resolver listens on 127.0.0.11 in every namespace, and nobody outside reaches loopback.
    loopback: bool,
}

impl Socket {
    /// Whoever asked may have left while the app, which closes its side when it has ended, is still at work.
    fn is_open(&self) -> bool {
        self.state == ESTABLISHED || self.state == CLOSE_WAIT && self.taken
    }
}

/// How many connections from others are open to the ports on which a process with this id listens; `None` when the
/// kernel does not tell us, or whose they are: on the host's network they may be anybody's.
pub(super) fn open(pid: i64) -> Option<usize> {
    if on_our_network(pid) {
        return None;
    }
    let sockets = sockets(pid)?;
    let ports = listened_to(&sockets);
    Some(sockets.iter().filter(|socket| socket.is_open() && ports.contains(&socket.port)).count())
}

/// By the numbers of the kernel's lists, one for each network: who may not trace the process may not read its `ns`.
fn on_our_network(pid: i64) -> bool {
    let network = |of: &str| std::fs::metadata(format!("/proc/{of}/net/tcp")).map(|list| list.ino()).ok();
    network("self").is_some_and(|ours| network(&pid.to_string()) == Some(ours))
}

/// Ports on which a process with this id listens for others than itself; `None` when the kernel does not tell us.
pub(super) fn listening(pid: i64) -> Option<BTreeSet<u16>> {
    Some(listened_to(&sockets(pid)?))
}

fn listened_to(sockets: &[Socket]) -> BTreeSet<u16> {
    sockets.iter().filter(|socket| socket.state == LISTEN).map(|socket| socket.port).collect()
}

fn sockets(pid: i64) -> Option<Vec<Socket>> {
    if pid <= 0 {
        return None;
    }
    let four = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    // A kernel without IPv6 has no second file.
    let six = std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    let all = four.lines().chain(six.lines()).filter_map(socket);
    Some(all.filter(|socket| !socket.loopback).collect())
}

/// One line (`Documentation/networking/proc_net_tcp.rst` of the kernel).
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = words.nth(1)?.to_owned();
    let taken = words.nth(5)? != "0";
    let loopback = address.len() == 8 && address.ends_with("7F");
    Some(Socket { state, port, taken, loopback })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_state_and_local_port() {
        let line = "   0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0";
        let listens = socket(line).unwrap();
        assert_eq!((listens.state.as_str(), listens.port), (LISTEN, 5000));
        let line = "   1: 030014AC:1F40 020014AC:C350 01 00000000:00000000 00:00000000 00000000 0 0 1 1 0";
        let open = socket(line).unwrap();
        assert_eq!((open.state.as_str(), open.port), (ESTABLISHED, 8000));
    }

    #[test]
    fn headings_are_passed_over() {
        assert!(socket("  sl  local_address rem_address   st tx_queue rx_queue").is_none());
    }

    #[test]
    fn who_listens_on_loopback_listens_for_nobody_else() {
        let listener = std::net::TcpListener::bind("127.0.0.11:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!listening(i64::from(std::process::id())).unwrap().contains(&port));
    }

    #[test]
    fn what_an_app_has_not_closed_is_open_although_who_asked_has_left() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let reached = listener.local_addr().unwrap();
        let open = || {
            let lines = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
            let sockets = lines.lines().filter_map(socket).filter(|socket| socket.port == reached.port());
            sockets.filter(Socket::is_open).count()
        };
        drop(std::net::TcpStream::connect(reached).unwrap());
        assert_eq!(open(), 0, "nobody has accepted it");
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(open(), 1);
        drop(accepted);
        assert_eq!(open(), 0);
    }

    #[test]
    fn what_is_open_on_the_hosts_network_is_not_counted() {
        assert!(sockets(i64::from(std::process::id())).is_some());
        assert_eq!(open(i64::from(std::process::id())), None);
    }

    #[test]
    fn our_own_listener_is_seen() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening(i64::from(std::process::id())).unwrap().contains(&port));
    }
}
