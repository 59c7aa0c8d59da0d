//! What can be told from the text of a remote's address. Opens no connection.

use crate::model::forge::Forge;

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

/// The repository's name as the forge writes it, when the address has exactly its parts.
pub(super) fn repository(url: &str, forge: Forge) -> Option<String> {
    let path = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once('@')?.1.split_once(':')?.1,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    // Data Center has its repositories below this folder when asked over HTTPS.
    let path = path.strip_prefix("scm/").filter(|_| forge == Forge::Bitbucket).unwrap_or(path);
    is_repository(path, forge).then(|| path.to_owned())
}

/// Whether the text has the forge's form of a name.
pub(super) fn is_repository(text: &str, forge: Forge) -> bool {
    // Data Center's personal projects begin with a tilde.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let part = |part: &str| !part.is_empty() && part.bytes().all(plain);
    let parts = text.split('/').count();
    text.split('/').all(part) && (parts == 2 || (parts > 2 && forge.nests()))
}

/// How the forge writes a repository's name, for hints.
pub(super) fn form(forge: Forge) -> &'static str {
    match forge {
        Forge::GitHub | Forge::Gitea | Forge::Forgejo => "owner/name",
        Forge::GitLab => "group/subgroup/name",
        Forge::Bitbucket => "workspace/name",
    }
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
        for (url, forge, expected) in [
            ("https://example.org/you/shop.git", Forge::GitHub, Some("you/shop")),
            ("https://example.org/you/shop/", Forge::Gitea, Some("you/shop")),
            ("git@example.org:you/shop.git", Forge::GitHub, Some("you/shop")),
            ("ssh://git@example.org:22/you/shop", Forge::Forgejo, Some("you/shop")),
            ("https://example.org/group/sub/shop.git", Forge::GitHub, None),
            ("https://example.org/group/sub/shop.git", Forge::GitLab, Some("group/sub/shop")),
            ("https://example.org/scm/prj/shop.git", Forge::Bitbucket, Some("prj/shop")),
            ("ssh://git@example.org:7999/~me/shop.git", Forge::Bitbucket, Some("~me/shop")),
            ("https://example.org/scm/shop.git", Forge::GitHub, Some("scm/shop")),
            ("https://example.org/shop.git", Forge::GitLab, None),
            ("file:///you/shop.git", Forge::GitHub, None),
            ("/you/shop.git", Forge::GitHub, None),
        ] {
            assert_eq!(repository(url, forge).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn userinfo_is_what_precedes_the_host() {
        assert_eq!(userinfo("https://me:pass@example.org/a"), Some("me:pass"));
        assert_eq!(userinfo("https://example.org/a@b"), None);
        assert_eq!(userinfo("git@example.org:a"), None);
    }
}
