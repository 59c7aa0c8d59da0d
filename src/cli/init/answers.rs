//! What must be known: from the command line, else asked for on a terminal, else refused by name.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::args::Init;
use crate::cli::error::CliError;
use crate::config::{Transport, transport};
use crate::model::forge::Forge;

#[derive(Debug)]
pub(super) struct Answers {
    pub(super) url: String,
    pub(super) branch: String,
    pub(super) name: String,
    pub(super) compose: String,
    pub(super) state: Option<PathBuf>,
    pub(super) sign_in: SignIn,
    pub(super) forge: Option<Forge>,
    pub(super) repository: Option<String>,
    pub(super) listen: SocketAddr,
    /// As `publish` under [webhook].
    pub(super) publish: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SignIn {
    /// A public repository, or one on this machine.
    Nobody,
    Token(PathBuf),
    /// With the fingerprints that were given; none: the host is asked.
    DeployKey(Vec<String>),
}

pub(super) fn answers(given: &Init) -> Result<Answers, CliError> {
    let url = ask(given.url.clone(), "--url", "The repository (https://… or git@…)", None)?;
    let Some(transport) = transport(&url) else {
        let message = format!("`{url}` is not the address of a repository");
        let hint = "write https://HOST/PATH, git@HOST:PATH, ssh://git@HOST/PATH or file:///PATH";
        return Err(CliError::Usage { message, hint: Some(hint.into()) });
    };
    let name = ask(given.name.clone(), "--name", "A name for the stack", Some(named_after(&url)))?;
    let branch = ask(given.branch.clone(), "--branch", "The branch to follow", Some("main".into()))?;
    let compose = "The compose file in the repository";
    let compose = ask(given.compose.clone(), "--compose", compose, Some("compose.yaml".into()))?;
    let sign_in = match transport {
        Transport::Ssh => SignIn::DeployKey(given.host_keys.clone()),
        Transport::Https => {
            let question = "A file with a token that may read it (empty: it is public)";
            let given = given.token_file.as_ref().map(|path| path.display().to_string());
            let token = ask(given, "--token-file", question, Some(String::new()))?;
            if token.is_empty() { SignIn::Nobody } else { SignIn::Token(std::path::absolute(token)?) }
        }
        Transport::Http | Transport::File => SignIn::Nobody,
    };
    let forge = given.forge.or_else(|| forge_of(&url));
    let publish = match forge {
        Some(_) => {
            let question =
                "A path such as /webhooks/ at which the stack's nginx is to pass webhooks on (empty: none)";
            ask(given.publish.clone(), "--publish", question, Some(String::new()))?
        }
        None => given.publish.clone().unwrap_or_default(),
    };
    let publish = Some(publish).filter(|path| !path.is_empty());
    let (repository, state, listen) = (given.repository.clone(), given.state.clone(), given.listen);
    Ok(Answers { url, branch, name, compose, state, sign_in, forge, repository, listen, publish })
}

/// What was given, else what is typed, else what is usual. Without a terminal the usual is taken without asking.
fn ask(given: Option<String>, flag: &str, question: &str, usual: Option<String>) -> Result<String, CliError> {
    if let Some(given) = given {
        return Ok(given);
    }
    if !io::stdin().is_terminal() {
        return usual.ok_or_else(|| CliError::Usage {
            message: format!("nobody is at the keyboard, and {flag} was not given"),
            hint: Some("agent init --help lists what there is to say".into()),
        });
    }
    loop {
        let mut stderr = io::stderr().lock();
        match usual.as_deref().filter(|usual| !usual.is_empty()) {
            Some(usual) => write!(stderr, "{question} [{usual}]: ")?,
            None => write!(stderr, "{question}: ")?,
        }
        stderr.flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(CliError::Left { hint: "nothing was written" });
        }
        match (line.trim(), &usual) {
            ("", Some(usual)) => return Ok(usual.clone()),
            ("", None) => {}
            (typed, _) => return Ok(typed.to_owned()),
        }
    }
}

/// The last part of the address, in the letters that a project's name may have.
fn named_after(url: &str) -> String {
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let last = last.strip_suffix(".git").unwrap_or(last).to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = last.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "site".to_owned() } else { name.to_owned() }
}

/// The forges that everybody shares; one of your own is named with `--forge`.
fn forge_of(url: &str) -> Option<Forge> {
    let host = host_of(url)?;
    [("github.com", Forge::GitHub), ("gitlab.com", Forge::GitLab), ("codeberg.org", Forge::Forgejo)]
        .into_iter()
        .chain([("gitea.com", Forge::Gitea), ("bitbucket.org", Forge::Bitbucket)])
        .find_map(|(known, forge)| (host == known).then_some(forge))
}

/// The host of a remote's address.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let authority = match url.split_once("://") {
        Some((_, rest)) => rest.split('/').next()?,
        None => url.split_once(':')?.0,
    };
    let host = authority.rsplit('@').next()?;
    Some(host.split_once(':').map_or(host, |(host, _)| host)).filter(|host| !host.is_empty())
}

/// The port in a remote's address.
pub(super) fn port_of(url: &str) -> Option<u16> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_named_after_its_repository() {
        for (url, name) in [
            ("git@github.com:you/Shop.git", "shop"),
            ("https://example.com/a/b.c/", "b-c"),
            ("file:///srv/_x.git", "x"),
            ("git@host:.git", "site"),
        ] {
            assert_eq!(named_after(url), name, "{url}");
        }
    }

    #[test]
    fn hosts_ports_and_forges_are_told_from_the_address() {
        for (url, host, port) in [
            ("git@github.com:you/shop.git", Some("github.com"), None),
            ("ssh://git@localhost:2222/x", Some("localhost"), Some(2222)),
            ("https://gitlab.com/a/b", Some("gitlab.com"), None),
            ("file:///srv/x", None, None),
        ] {
            assert_eq!((host_of(url), port_of(url)), (host, port), "{url}");
        }
        assert_eq!(forge_of("git@github.com:you/shop.git"), Some(Forge::GitHub));
        assert_eq!(forge_of("https://git.example.com/you/shop"), None);
    }
}
