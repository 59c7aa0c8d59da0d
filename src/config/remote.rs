//! What can be told from the text of a remote's address. Opens no connection.

/// How the remote is reached, and so which way of signing in fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Https,
    /// Neither private nor proof against change on the way: for loopback and tests.
    Http,
    Ssh,
    File,
}

/// The transport of `https://…`, `http://…`, `ssh://…`, `user@host:path`, `file:///…` or an absolute path.
pub fn transport(url: &str) -> Option<Transport> {
    let after = |scheme: &str| url.strip_prefix(scheme).filter(|rest| !rest.is_empty());
    if after("https://").is_some() {
        Some(Transport::Https)
    } else if after("http://").is_some() {
        Some(Transport::Http)
    } else if after("ssh://").is_some() {
        Some(Transport::Ssh)
    } else if after("file:///").is_some() || url.starts_with('/') {
        Some(Transport::File)
    } else if url.contains("://") {
        None
    } else {
        // The short form has a colon before the first slash, and someone to sign in as.
        let (host, path) = url.split_once(':')?;
        let (user, host) = host.split_once('@')?;
        (![user, host, path].contains(&"") && !host.contains('/')).then_some(Transport::Ssh)
    }
}

/// What stands before the `@` of an address with a scheme: a user, a token, or `user:password`.
pub(super) fn userinfo(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// Whether an address with a scheme leads to this machine: then nobody is on the way.
pub(super) fn is_loopback(url: &str) -> bool {
    let authority =
        url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `owner/name`, as forges write it, when the address has exactly these two parts.
pub(super) fn repository(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once('@')?.1.split_once(':')?.1,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    is_repository(path).then(|| path.to_owned())
}

/// Whether the text has the form `owner/name`.
pub(super) fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_told_apart() {
        for (url, expected) in [
            ("https://example.org/a/b.git", Some(Transport::Https)),
            ("http://127.0.0.1:8080/a.git", Some(Transport::Http)),
            ("ssh://git@example.org:2222/a/b.git", Some(Transport::Ssh)),
            ("git@example.org:a/b.git", Some(Transport::Ssh)),
            ("file:///srv/git/a.git", Some(Transport::File)),
            ("/srv/git/a.git", Some(Transport::File)),
            ("git://example.org/a.git", None),
            ("example.org/a/b", None),
            ("example.org:a/b", None),
            ("git@:a", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(transport(url), expected, "{url}");
        }
    }

    #[test]
    fn the_repository_is_taken_from_the_address() {
        for (url, expected) in [
            ("https://example.org/you/shop.git", Some("you/shop")),
            ("https://example.org/you/shop/", Some("you/shop")),
            ("git@example.org:you/shop.git", Some("you/shop")),
            ("ssh://git@example.org:22/you/shop", Some("you/shop")),
            ("https://example.org/group/sub/shop.git", None),
            ("file:///you/shop.git", None),
            ("/you/shop.git", None),
        ] {
            assert_eq!(repository(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn userinfo_is_what_precedes_the_host() {
        assert_eq!(userinfo("https://me:pass@example.org/a"), Some("me:pass"));
        assert_eq!(userinfo("https://example.org/a@b"), None);
        assert_eq!(userinfo("git@example.org:a"), None);
    }
}
