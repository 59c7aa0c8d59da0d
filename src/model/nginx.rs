//! What an nginx can do, by its version.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// From what `nginx -v` prints: `nginx version: nginx/1.26.3 (Ubuntu)`.
    pub fn read(banner: &str) -> Option<Self> {
        let (_, version) = banner.split_once("nginx/")?;
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let mut numbers = version[..end].split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self(next()?, next()?, next()?))
    }

    /// How long old workers still take requests on connections that clients kept. Older ones close them at once,
    /// and a request that is on its way just then is lost, unless the client sends it again as browsers do.
    pub fn linger(self) -> Option<Duration> {
        (self >= Self(1, 27, 4)).then_some(Duration::from_secs(5))
    }

    /// Whether it keeps connections to several instances open unless it is told not to. Older ones refuse to be told.
    pub fn keeps_connections(self) -> bool {
        self >= Self(1, 29, 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(Version::read("nginx version: nginx/1.26.3\n"), Some(Version(1, 26, 3)));
        assert_eq!(Version::read("nginx version: nginx/1.22.1 (Ubuntu)"), Some(Version(1, 22, 1)));
        assert_eq!(Version::read("nginx: not found"), None);
        assert_eq!(Version::read("nginx/x"), None);
        assert_eq!(Version(1, 26, 3).linger(), None);
        assert_eq!(Version(1, 30, 0).linger(), Some(Duration::from_secs(5)));
    }
}
