//! The agent's own webhooks and dashboard, as nginx publishes them beside the stack's routes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::values::{self, Refused};

/// Which requests nginx passes to the agent: those below a path, of every host or of one, on one port. Written
/// `/webhooks/`, `hooks.example.com/`, `hooks.example.com/webhooks/` or `:8080/webhooks/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Published {
    /// The port nginx listens on, in its container.
    pub listen: u16,
    /// `None` is every host.
    pub host: Option<String>,
    /// Begins and ends with a slash; is not only that without a host.
    pub path: String,
}

/// Why a text says of no requests that they are the agent's.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` {}\n{}", .refused.0, .refused.1)]
pub struct NotPublished {
    text: String,
    refused: Refused,
}

impl Published {
    /// Whether a route of the stack would take what is meant for the agent.
    pub fn is_taken_by(&self, listen: u16, host: Option<&str>, path: &str) -> bool {
        let same_host = self.host.is_none() || self.host.as_deref() == host;
        listen == self.listen && same_host && format!("{path}/").starts_with(&self.path)
    }

    /// Whether both would be given the same requests.
    pub fn meets(&self, other: &Self) -> bool {
        let hosts = self.host.is_none() || other.host.is_none() || self.host == other.host;
        hosts && (self.listen, &self.path) == (other.listen, &other.path)
    }

    fn read(text: &str) -> Result<Self, Refused> {
        let Some(slash) = text.find('/') else {
            return Err(("has no path", "write for example /webhooks/ or hooks.example.com/webhooks/"));
        };
        let (authority, path) = text.split_at(slash);
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let listen = match port.parse() {
            Ok(0) | Err(_) if !port.is_empty() => {
                return Err(("has no port behind its colon", "write for example :8080/webhooks/"));
            }
            Ok(port) => port,
            Err(_) => 80,
        };
        let host = Some(host).filter(|host| !host.is_empty()).map(values::host).transpose()?;
        let path = format!("{}/", values::path(path)?.trim_end_matches('/'));
        if path == "/" && host.is_none() {
            return Err((
                "would take every request of the site",
                "write a path of its own, such as /agent/, or a host of its own, such as agent.example.com/",
            ));
        }
        Ok(Self { listen, host, path })
    }
}

impl TryFrom<String> for Published {
    type Error = NotPublished;

    fn try_from(text: String) -> Result<Self, NotPublished> {
        Self::read(&text).map_err(|refused| NotPublished { text, refused })
    }
}

impl From<Published> for String {
    fn from(published: Published) -> Self {
        published.to_string()
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or_default())?;
        if self.listen != 80 {
            write!(f, ":{}", self.listen)?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Published, String> {
        Published::try_from(text.to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_reads_back() {
        for (text, canonical) in [
            ("/webhooks/", "/webhooks/"),
            ("/webhooks", "/webhooks/"),
            ("Hooks.example.com/a/b/", "hooks.example.com/a/b/"),
            (":8080/webhooks/", ":8080/webhooks/"),
            ("hooks.example.com:80/w/", "hooks.example.com/w/"),
            ("hooks.example.com/", "hooks.example.com/"),
        ] {
            let published = read(text).unwrap();
            assert_eq!(published.to_string(), canonical);
            assert_eq!(read(canonical).unwrap(), published);
        }
    }

    #[test]
    fn what_nginx_could_not_publish_is_refused() {
        for bad in [
            "",
            "webhooks",
            "/",
            "//",
            ":8080/",
            "/a b/",
            ":x/w/",
            ":0/w/",
            ":/../",
            "a_b/w/",
            "https://h/w/",
            "/;/",
        ] {
            let said = read(bad).expect_err(bad);
            assert_eq!(said.lines().count(), 2, "{said}");
        }
    }

    #[test]
    fn a_route_at_or_below_the_path_would_take_it() {
        let published = read("/webhooks/").unwrap();
        for taken in ["/webhooks", "/webhooks/", "/webhooks/stripe", "/webhooks/x/"] {
            assert!(published.is_taken_by(80, None, taken), "{taken}");
            assert!(published.is_taken_by(80, Some("shop.example.com"), taken), "{taken}");
            assert!(!published.is_taken_by(81, None, taken), "{taken}");
        }
        for free in ["/", "/web", "/webhooks-of-mine/"] {
            assert!(!published.is_taken_by(80, None, free), "{free}");
        }
        let one = read("hooks.example.com/webhooks/").unwrap();
        assert!(one.is_taken_by(80, Some("hooks.example.com"), "/webhooks/"));
        assert!(!one.is_taken_by(80, None, "/webhooks/"));
        let whole = read("hooks.example.com/").unwrap();
        assert!(whole.is_taken_by(80, Some("hooks.example.com"), "/shop/"));
        assert!(!whole.is_taken_by(80, None, "/"));
    }

    #[test]
    fn two_may_stand_below_each_other_but_not_in_one_place() {
        for (one, other, meet) in [
            ("/agent/", "/agent/", true),
            ("/agent/", "agent.example.com/agent/", true),
            ("/agent/", "/agent/hooks/", false),
            ("/webhooks/", "agent.example.com/", false),
            ("a.example.com/", "b.example.com/", false),
            (":8080/agent/", "/agent/", false),
        ] {
            let (one, other) = (read(one).unwrap(), read(other).unwrap());
            assert_eq!((one.meets(&other), other.meets(&one)), (meet, meet), "{one} {other}");
        }
    }
}
