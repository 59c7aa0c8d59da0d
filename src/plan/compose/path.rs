//! Paths as compose files write them, made relative to the repository's root or absolute on the host. Pure
//! text: links are not followed and nothing needs to be there.

/// Why a path cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("`~` has no meaning here: the agent has no home folder in the repository")]
    Home,
    #[error("it leads out of the repository")]
    Outside,
    #[error("it is not a path but an address")]
    Remote,
    #[error("it is empty")]
    Empty,
}

impl Refused {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Home => "write the path relative to the compose file, or an absolute path of the host",
            Self::Outside => "keep the file in the repository, or write an absolute path of the host",
            Self::Remote => "add the files to the repository, as a folder or a submodule",
            Self::Empty => "write `.` for the folder of the compose file",
        }
    }
}

/// `text` as seen from the folder `base` of the repository: `.` for its root, `./a/b` in it, or `/a/b` on
/// the host.
pub(super) fn resolve(base: &str, text: &str) -> Result<String, Refused> {
    if text.is_empty() {
        return Err(Refused::Empty);
    }
    if text.starts_with('~') {
        return Err(Refused::Home);
    }
    if text.contains("://") || text.starts_with("git@") {
        return Err(Refused::Remote);
    }
    if text.starts_with('/') {
        let parts = join(Vec::new(), text).unwrap_or_default();
        return Ok(format!("/{}", parts.join("/")));
    }
    let base = join(Vec::new(), base).unwrap_or_default();
    let parts = join(base, text).ok_or(Refused::Outside)?;
    Ok(if parts.is_empty() { ".".to_owned() } else { format!("./{}", parts.join("/")) })
}

/// A path in a container, as the engine tells it: without what says nothing (`/data/`, `/./data`).
pub(super) fn inside(text: &str) -> String {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The same for a file that must be in the repository; without the leading `./`, the root is empty.
pub(super) fn in_repository(base: &str, text: &str) -> Result<String, Refused> {
    let path = resolve(base, text)?;
    repository(&path).map(str::to_owned).ok_or(Refused::Outside)
}

/// A resolved path without its `./`, if it is in the repository.
pub(super) fn repository(resolved: &str) -> Option<&str> {
    if resolved == "." { Some("") } else { resolved.strip_prefix("./") }
}

/// The folder a file is in.
pub(super) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Adds the parts of `text`; `None` when it climbs above the start.
fn join<'a>(mut parts: Vec<&'a str>, text: &'a str) -> Option<Vec<&'a str>> {
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository_or_are_of_the_host() {
        for (base, text, expected) in [
            ("stack", "./app", Ok("./stack/app")),
            ("stack", "app/", Ok("./stack/app")),
            ("stack", "..", Ok(".")),
            ("stack", "../other//x", Ok("./other/x")),
            ("", ".", Ok(".")),
            ("stack", "/etc/./hosts", Ok("/etc/hosts")),
            ("stack", "../..", Err(Refused::Outside)),
            ("", "a/../../b", Err(Refused::Outside)),
            ("stack", "~/x", Err(Refused::Home)),
            ("stack", "https://example.org/x.git", Err(Refused::Remote)),
            ("stack", "", Err(Refused::Empty)),
        ] {
            assert_eq!(resolve(base, text).as_deref(), expected.as_ref().copied(), "{base} {text}");
        }
        assert_eq!(in_repository("stack", "/etc/hosts"), Err(Refused::Outside));
        assert_eq!(in_repository("stack", "..").as_deref(), Ok(""));
        let said = ["/data/", "//data", "/./data/.", "/x/../data", "/../data", "/"].map(inside);
        assert_eq!(said, ["/data", "/data", "/data", "/data", "/data", "/"]);
    }
}
