//! What wakes the agent: that it runs, and that somebody can tell it of a push.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Daemon, Finding};
use crate::config::Config;

pub(super) async fn look(config: &Config, daemon: Daemon) -> Vec<Finding> {
    const WHAT: &str = "daemon";
    let mut findings = vec![match daemon {
        Daemon::Answers => Finding::good(WHAT, "it answers"),
        Daemon::Silent => Finding::doubtful(
            WHAT,
            "it does not answer: it may be starting, or waiting for the engine",
            "journalctl -u agent",
        ),
        Daemon::Absent => {
            Finding::doubtful(WHAT, "none runs: nothing goes live by itself", "systemctl enable --now agent")
        }
    }];
    if let Some(at) = config.webhook.listen {
        findings.extend(webhook(config, at, daemon).await);
    }
    findings
}

async fn webhook(config: &Config, at: SocketAddr, daemon: Daemon) -> Option<Finding> {
    const WHAT: &str = "webhook";
    if config.webhook.accepted().next().is_none() {
        let found = "no secret: a push is noticed by the poll only, up to a minute later";
        return Some(Finding::doubtful(
            WHAT,
            found,
            "name one in `secret_files` under [webhook.github] or your forge's own section",
        ));
    }
    if daemon == Daemon::Absent
        && let Err(error) = TcpListener::bind(at).await
    {
        let mend =
            format!("see who has it (ss -ltnp 'sport = :{}'), or change `listen` under [webhook]", at.port());
        return Some(Finding::wrong(WHAT, format!("{at} cannot be listened on: {error}"), mend));
    }
    Some(if let Some(published) = &config.webhook.publish {
        Finding::good(WHAT, format!("nginx passes on {published}; also at {at}"))
    } else if at.ip().is_loopback() {
        let mend = "set `publish` under [webhook], or put what ends TLS on this machine in front of it";
        Finding::doubtful(WHAT, format!("{at} is reached from this machine only"), mend)
    } else {
        Finding::good(WHAT, format!("listens on {at}"))
    })
}
