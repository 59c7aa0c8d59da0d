//! The TCP sockets of an instance, as the kernel lists them for its network namespace: what it listens on, and
//! what is still open. Read from `/proc/PID/net`, so no tool in the image is needed.

use std::collections::BTreeSet;

const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// How many connections from others are open to the ports on which a process with this id listens; `None` when the
/// kernel does not tell us.
pub(super) fn open(pid: i64) -> Option<usize> {
    let sockets = lines(pid)?;
    let ports = listened_to(&sockets);
    Some(sockets.iter().filter(|(state, port)| state == ESTABLISHED && ports.contains(port)).count())
}

/// Ports on which a process with this id listens for others than itself; `None` when the kernel does not tell us.
pub(super) fn listening(pid: i64) -> Option<BTreeSet<u16>> {
    Some(listened_to(&lines(pid)?))
}

fn listened_to(sockets: &[(String, u16)]) -> BTreeSet<u16> {
    sockets.iter().filter(|(state, _)| state == LISTEN).map(|(_, port)| *port).collect()
}

fn lines(pid: i64) -> Option<Vec<(String, u16)>> {
    if pid <= 0 {
        return None;
    }
    let four = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    // A kernel without IPv6 has no second file.
    let six = std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    Some(four.lines().chain(six.lines()).filter_map(socket).collect())
}

/// State and local port of one line (`Documentation/networking/proc_net_tcp.rst` of the kernel).
fn socket(line: &str) -> Option<(String, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = words.nth(1)?;
    // Docker's own resolver listens on 127.0.0.11 in every namespace, and nobody outside reaches loopback.
    let loopback = address.len() == 8 && address.ends_with("7F");
    (!loopback).then(|| (state.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_state_and_local_port() {
        let line = "   0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0";
        assert_eq!(socket(line), Some((LISTEN.into(), 5000)));
        let line = "   1: 030014AC:1F40 020014AC:C350 01 00000000:00000000 00:00000000 00000000 0 0 1 1 0";
        assert_eq!(socket(line), Some((ESTABLISHED.into(), 8000)));
    }

    #[test]
    fn headings_and_loopback_are_passed_over() {
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(socket("   0: 0B00007F:9E6B 00000000:0000 0A 0:0 0:0 0 0 0 1"), None);
    }

    #[test]
    fn our_own_listener_is_seen() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening(i64::from(std::process::id())).unwrap().contains(&port));
    }
}
