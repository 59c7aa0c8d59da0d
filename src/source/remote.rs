//! Which repository and branch to follow, and how to prove who we are. Only values and their checks.

use std::path::PathBuf;

use super::error::SourceError;

/// A branch of a repository somewhere else.
#[derive(Clone, Debug)]
pub struct Remote {
    url: String,
    branch: String,
    auth: Auth,
    ff_only: bool,
}

/// How the remote knows us. Secrets are paths, read at each use, so that a rotated one works at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A public repository, or a path on this machine.
    None,
    /// HTTP Basic over `https://`. Hosts that take tokens mostly ignore the user name.
    Token { user: String, file: PathBuf },
    /// An OpenSSH private key without passphrase, and the host keys the server may show, each as printed by
    /// `ssh-keygen -lf`: `SHA256:` and 43 characters. List every key type the server has.
    SshKey { file: PathBuf, host_keys: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
    Ssh,
    File,
}

impl Remote {
    /// `url`: `https://…`, `ssh://…`, `user@host:path`, `file://…` or an absolute path.
    /// Refuses what could not work or would give a secret away.
    pub fn new(url: &str, branch: &str, auth: Auth) -> Result<Self, SourceError> {
        let Some(scheme) = scheme(url) else {
            return Err(SourceError::BadUrl { url: redacted(url) });
        };
        if matches!(scheme, Scheme::Http | Scheme::Https) && url != redacted(url) {
            return Err(SourceError::SecretInUrl { url: redacted(url) });
        }
        if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
            return Err(SourceError::BadBranch { branch: branch.to_owned() });
        }
        let wanted = match (&auth, scheme) {
            (Auth::Token { .. }, Scheme::Http) if !is_loopback(url) => {
                return Err(SourceError::TokenInClear { url: url.to_owned() });
            }
            (Auth::Token { .. }, Scheme::Ssh | Scheme::File) => Some("an https:// URL"),
            (Auth::SshKey { .. }, Scheme::Http | Scheme::Https | Scheme::File) => Some("an ssh URL"),
            (Auth::None, Scheme::Ssh) => Some("a token or a deploy key that fits the URL; ssh needs a key"),
            _ => None,
        };
        match wanted {
            Some(wanted) => Err(SourceError::AuthMisfit { url: url.to_owned(), wanted }),
            None => Ok(Self { url: url.to_owned(), branch: branch.to_owned(), auth, ff_only: false }),
        }
    }

    /// Refuse a branch that no longer contains the revision it pointed at before.
    pub fn ff_only(mut self, on: bool) -> Self {
        self.ff_only = on;
        self
    }

    /// Safe to print: a URL that carries a secret is refused in [`Remote::new`].
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn branch(&self) -> &str {
        &self.branch
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(super) fn refuses_rewrites(&self) -> bool {
        self.ff_only
    }
}

fn scheme(url: &str) -> Option<Scheme> {
    let known = [
        ("https://", Scheme::Https),
        ("http://", Scheme::Http),
        ("ssh://", Scheme::Ssh),
        ("file:///", Scheme::File),
    ];
    if let Some((_, scheme)) = known.into_iter().find(|(prefix, _)| url.starts_with(prefix)) {
        return Some(scheme);
    }
    if url.starts_with('/') {
        return Some(Scheme::File);
    }
    // `user@host:path`, the short form of ssh: no slash before the colon, and no scheme.
    let (host, path) = url.split_once(':')?;
    let short = !host.is_empty() && !host.contains('/') && !path.is_empty() && !path.starts_with("//");
    short.then_some(Scheme::Ssh)
}

/// The URL without what stands before an `@` in its host part.
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

fn is_loopback(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Auth {
        Auth::Token { user: "git".into(), file: "/run/token".into() }
    }

    fn key() -> Auth {
        Auth::SshKey { file: "/run/key".into(), host_keys: vec![] }
    }

    #[test]
    fn usual_urls_are_accepted() {
        for (url, auth) in [
            ("https://example.com/o/r.git", Auth::None),
            ("https://example.com/o/r.git", token()),
            ("http://127.0.0.1:8080/r.git", token()),
            ("http://[::1]:8080/r.git", token()),
            ("ssh://git@example.com:2222/o/r.git", key()),
            ("git@example.com:o/r.git", key()),
            ("file:///srv/r.git", Auth::None),
            ("/srv/r.git", Auth::None),
        ] {
            assert!(Remote::new(url, "main", auth).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_secret_in_the_url_is_refused_and_not_repeated() {
        for url in ["https://hunter2@example.com/r", "https://u:hunter2@example.com/r", "ftp://u:hunter2@h/r"]
        {
            let text = format!("{:?}", Remote::new(url, "main", Auth::None).expect_err(url));
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, branch, auth) in [
            ("http://example.com/r.git", "main", token()),
            ("http://127.0.0.1.example.com/r.git", "main", token()),
            ("git@example.com:o/r.git", "main", token()),
            ("https://example.com/r.git", "main", key()),
            ("git@example.com:o/r.git", "main", Auth::None),
            ("git://example.com/r.git", "main", Auth::None),
            ("repo.git", "main", Auth::None),
            ("/srv/r.git", "a b", Auth::None),
            ("/srv/r.git", "", Auth::None),
        ] {
            assert!(Remote::new(url, branch, auth).is_err(), "{url} {branch}");
        }
    }
}
