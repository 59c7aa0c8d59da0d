//! What can go wrong with nginx, and its own words made readable.

use std::path::PathBuf;

use super::CANDIDATE;
use crate::engine::EngineError;
use crate::model::class::Class;
use crate::model::place::Place;
use crate::plan::nginx::origin;

#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("cannot {act} {}", path.display())]
    File {
        act: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("nginx could not be told to {act}")]
    Engine {
        act: &'static str,
        #[source]
        source: EngineError,
    },
    /// `nginx -t` failed. `message` is nginx's own; `origin` is the service and place of the label it is about.
    #[error("nginx refuses the configuration: {message}{}", from(origin.as_deref()))]
    Refused { message: String, origin: Option<String> },
    #[error("the nginx service's image has no nginx: {said}")]
    NoNginx { said: String },
    #[error("nginx did not answer with the new configuration within {seconds} s{}", because(said))]
    NotLoaded { seconds: u64, said: String },
    #[error("the route {path} of service {service} ({place}) leads nowhere")]
    LeadsNowhere {
        service: String,
        place: Place,
        path: String,
        #[source]
        source: Unanswered,
    },
    /// The switch failed, and so did the way back: the old file may not be what nginx runs.
    #[error("{failure}; and the nginx configuration from before could not be put back")]
    NotRestored {
        failure: Box<RouteError>,
        #[source]
        source: Box<RouteError>,
    },
}

/// Why a request through nginx counts as not answered.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("nginx answers {0} for it")]
    Status(u16),
    #[error("nginx does not answer at {at}")]
    Silence {
        at: std::net::SocketAddrV4,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("nginx runs and does not answer at {at}")]
    Deaf {
        at: std::net::SocketAddrV4,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no answer within {seconds} s")]
    Slow { seconds: u64 },
}

impl RouteError {
    pub fn class(&self) -> Class {
        match self {
            Self::Engine { source, .. } => source.class(),
            // nginx is away itself, as while the engine starts it again: that is not the revision's doing. One that runs
            // and is deaf is: requests must not go to such a revision again and again.
            Self::LeadsNowhere { source: Unanswered::Silence { .. }, .. } => Class::Waiting,
            Self::Refused { .. } | Self::NoNginx { .. } | Self::LeadsNowhere { .. } => Class::Stalled,
            Self::File { .. } | Self::NotLoaded { .. } | Self::NotRestored { .. } => Class::Failed,
        }
    }
}

fn from(origin: Option<&str>) -> String {
    origin.map(|origin| format!(" (from {origin})")).unwrap_or_default()
}

fn because(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The error for what `nginx -t` printed about the candidate.
pub(super) fn refused(output: &str, text: &str) -> RouteError {
    let said = last_words(output);
    let line = said.rsplit_once(&format!("{CANDIDATE}:")).and_then(|(_, line)| line.parse().ok());
    let message = if said.is_empty() { output.trim().to_owned() } else { said };
    RouteError::Refused { message, origin: line.and_then(|line| origin(text, line)).map(str::to_owned) }
}

/// The last complaint in nginx's output, without time and process id.
pub(super) fn last_words(output: &str) -> String {
    let complaint = |line: &str| {
        let (_, said) = line.split_once("[emerg] ")?;
        let (process, rest) = said.split_once(": ").unwrap_or(("", said));
        let numbered = process.contains('#') && process.bytes().all(|b| b.is_ascii_digit() || b == b'#');
        Some(if numbered { rest } else { said }.trim().to_owned())
    };
    output.lines().rev().find_map(complaint).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginxs_words_lead_to_the_label() {
        let text = "http {\n    # from web, compose.yaml:3:7\n    location / {\n        fail;\n    }\n}\n";
        let output = "2026/11/22 16:27:48 [warn] 7#7: something\n\
            2026/11/22 16:27:48 [emerg] 16553#16553: unknown directive \"fail\" in /etc/nginx/agent/candidate.conf:4\n\
            nginx: configuration file /etc/nginx/agent/candidate.conf test failed\n";
        assert_eq!(
            refused(output, text).to_string(),
            "nginx refuses the configuration: unknown directive \"fail\" in /etc/nginx/agent/candidate.conf:4 \
             (from web, compose.yaml:3:7)"
        );
        let bare =
            refused("nginx: [emerg] host not found in upstream \"a: b\" in /x/candidate.conf:1\n", text);
        assert_eq!(
            bare.to_string(),
            "nginx refuses the configuration: host not found in upstream \"a: b\" in /x/candidate.conf:1"
        );
        let other = refused("exec: \"nginx\": executable file not found\n", text);
        assert!(other.to_string().ends_with("configuration: exec: \"nginx\": executable file not found"));
    }
}
