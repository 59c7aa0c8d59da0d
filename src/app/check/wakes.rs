//! What wakes the agent: that it runs, and that somebody can tell it of a push.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, header};
use tokio::net::TcpListener;

use super::{Daemon, Finding};
use crate::app;
use crate::config::Config;
use crate::http::Client;
use crate::report;

const WHAT: &str = "webhook";
const KNOCK: Duration = Duration::from_secs(5);

pub(super) async fn look(config: &Config, daemon: Daemon) -> Vec<Finding> {
    const DAEMON: &str = "daemon";
    let mut findings = vec![match daemon {
        Daemon::Answers => Finding::good(DAEMON, "it answers"),
        Daemon::Silent => Finding::doubtful(
            DAEMON,
            "it does not answer: it may be starting, or waiting for the engine",
            "journalctl -u agent",
        ),
        Daemon::Absent => Finding::doubtful(
            DAEMON,
            "none runs: nothing goes live by itself",
            "systemctl enable --now agent",
        ),
    }];
    if let Some(at) = config.webhook.listen {
        findings.extend(webhook(config, at, daemon).await);
    }
    findings
}

async fn webhook(config: &Config, at: SocketAddr, daemon: Daemon) -> Option<Finding> {
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
    if daemon == Daemon::Answers
        && let Some(finding) = doors(config, at).await
    {
        return Some(finding);
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

/// Knocks at each door as a forge would, as far as that can be done from here: what is between this machine and the
/// world, such as a firewall, is not seen.
async fn doors(config: &Config, at: SocketAddr) -> Option<Finding> {
    let (forge, _) = config.webhook.accepted().next()?;
    let knocked = knock(&format!("http://{at}/webhooks/{}", forge.name()), None).await;
    if let Err(found) = knocked {
        let mend = "it runs with another configuration: agent reload";
        return Some(Finding::wrong(WHAT, format!("the daemon is not to be had at {at}: {found}"), mend));
    }
    let published = config.webhook.publish.as_ref()?;
    let record = app::lookup(config).ok()?;
    // Nothing is live yet, so no nginx either.
    let release = record.current().await.ok()??;
    let ports = &release.desired.proxy()?.template.ports;
    let port = ports.iter().find(|port| port.container == published.listen).and_then(|port| port.host)?;
    let path = format!("{}{}", published.path, forge.name());
    let found = knock(&format!("http://127.0.0.1:{port}{path}"), published.host.as_deref()).await.err()?;
    let mend = "see that nginx runs and what it says: agent status, agent logs";
    Some(Finding::wrong(WHAT, format!("nginx does not pass on {published} at port {port}: {found}"), mend))
}

/// The agent refuses a GET at its webhooks, and is the only one to.
async fn knock(url: &str, host: Option<&str>) -> Result<(), String> {
    let client = Client::new().map_err(|error| report::line(&error))?;
    let mut request = Request::get(url);
    if let Some(host) = host.filter(|host| !host.starts_with('*')) {
        request = request.header(header::HOST, host);
    }
    let request = request.body(Bytes::new()).map_err(|error| report::line(&error))?;
    let answer = client.ask(request, KNOCK).await.map_err(|error| report::line(&error))?;
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => Ok(()),
        other => Err(format!("answered {other}")),
    }
}
