//! Who is at the other end of a connection, and for whom it speaks.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The other end of a connection. [`super::serve`] puts it into every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(IpAddr),
    /// A program of this machine, on a Unix socket.
    Local,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip().to_canonical())
    }
}

impl From<tokio::net::unix::SocketAddr> for Peer {
    fn from(_: tokio::net::unix::SocketAddr) -> Self {
        Self::Local
    }
}

impl Peer {
    /// The client's address. Behind a trusted proxy (every Unix socket, and the listed addresses) it is the
    /// last `X-Forwarded-For` entry: the one the proxy itself added. Earlier ones are whatever the client
    /// wrote, and without a trusted proxy all of them are.
    pub fn client(self, headers: &HeaderMap, trusted: &[IpAddr]) -> Self {
        let proxied = match self {
            Self::Local => true,
            Self::Ip(address) => trusted.contains(&address),
        };
        if !proxied {
            return self;
        }
        let last = headers.get_all("x-forwarded-for").iter().next_back();
        let added =
            last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        added.map_or(self, |address| Self::Ip(address.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_a_trusted_proxy() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "9.9.9.9".parse().unwrap());
        headers.append("x-forwarded-for", "8.8.8.8, 203.0.113.7".parse().unwrap());
        let proxy = IpAddr::from([127, 0, 0, 1]);
        let client = Peer::Ip([203, 0, 113, 7].into());
        assert_eq!(Peer::Local.client(&headers, &[]), client);
        assert_eq!(Peer::Ip(proxy).client(&headers, &[proxy]), client);
        assert_eq!(Peer::Ip(proxy).client(&headers, &[]), Peer::Ip(proxy));
        assert_eq!(Peer::Local.client(&HeaderMap::new(), &[]), Peer::Local);
        headers.append("x-forwarded-for", "nonsense".parse().unwrap());
        assert_eq!(Peer::Local.client(&headers, &[]), Peer::Local);
    }
}
