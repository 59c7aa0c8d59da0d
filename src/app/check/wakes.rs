//! What wakes the agent: that it runs, and that somebody can tell it of a push.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Daemon, Finding};
use crate::app;
use crate::config::Config;
use crate::model::instance::PublishedPort;
use crate::model::route::Published;
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
    if config.webhook.listen.is_some() || config.webhook.publish.is_some() {
        findings.push(webhook(config, daemon).await);
    }
    findings
}

async fn webhook(config: &Config, daemon: Daemon) -> Finding {
    let Some((forge, _)) = config.webhook.accepted().next() else {
        return Finding::doubtful(
            WHAT,
            "no secret: a push is noticed by the poll only, up to a minute later",
            "name one in `secret_files` under [webhook.github] or your forge's own section",
        );
    };
    let (listen, forge) = (config.webhook.listen, forge.name());
    if let Some(at) = listen
        && let Err(wrong) = port(at, forge, daemon).await
    {
        return wrong;
    }
    match (&config.webhook.publish, listen) {
        (Some(published), _) => through_nginx(config, published, forge, daemon).await,
        (None, Some(at)) if at.ip().is_loopback() => {
            let mend = "set `publish` under [webhook], or put what ends TLS on this machine in front of it";
            Finding::doubtful(WHAT, format!("{at} is reached from this machine only"), mend)
        }
        (None, at) => Finding::good(WHAT, at.map_or(String::new(), |at| format!("listens on {at}"))),
    }
}

/// The agent's own port: that it can be had, or that the daemon has it.
async fn port(at: SocketAddr, forge: &str, daemon: Daemon) -> Result<(), Finding> {
    match daemon {
        Daemon::Absent => TcpListener::bind(at).await.map(drop).map_err(|error| {
            let port = at.port();
            let mend =
                format!("see who has it (ss -ltnp 'sport = :{port}'), or change `listen` under [webhook]");
            Finding::wrong(WHAT, format!("{at} cannot be listened on: {error}"), mend)
        }),
        Daemon::Answers => knock(here(at), &format!("/webhooks/{forge}"), None).await.map_err(|found| {
            let mend = "it runs with another configuration: agent reload";
            Finding::wrong(WHAT, format!("the daemon is not to be had at {at}: {found}"), mend)
        }),
        Daemon::Silent => Ok(()),
    }
}

/// Knocks as a forge would, as far as that can be done from here: what is between this machine and the world, such as
/// a firewall, is not seen.
async fn through_nginx(config: &Config, published: &Published, forge: &str, daemon: Daemon) -> Finding {
    let untried = |why: &str, mend: &str| {
        Finding::doubtful(WHAT, format!("nginx is to pass on {published}; not tried: {why}"), mend)
    };
    if daemon != Daemon::Answers {
        return untried("no daemon answers", "once it does: agent check");
    }
    let current = match app::lookup(config) {
        Ok(record) => record.current().await.ok().flatten(),
        Err(_) => None,
    };
    let Some(release) = current else {
        return untried("nothing is live", "once something is: agent check");
    };
    let ports = release.desired.proxy().map_or(&[][..], |nginx| &nginx.template.ports);
    let Some(at) = ports.iter().find_map(|port| front(port, published.listen)) else {
        let why = format!("no port of this machine is known to lead to port {} of nginx", published.listen);
        return untried(&why, "see `ports` of the service labelled agent.nginx");
    };
    let path = format!("{}{forge}", published.path);
    match knock(at, &path, published.host.as_deref()).await {
        Ok(()) => {
            let also = config.webhook.listen.map(|at| format!("; also at {at}")).unwrap_or_default();
            Finding::good(WHAT, format!("nginx passes on {published}{also}"))
        }
        Err(found) => {
            let mend = "see that nginx runs and what it says: agent status, agent logs";
            Finding::wrong(WHAT, format!("nginx does not pass on {published} at {at}: {found}"), mend)
        }
    }
}

/// Where on this machine a published port of nginx's is, if it is that one.
fn front(port: &PublishedPort, listen: u16) -> Option<SocketAddr> {
    let host = port.host.filter(|_| port.container == listen && port.protocol == "tcp")?;
    let ip = port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
    Some(here(SocketAddr::new(ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), host)))
}

/// An address at which one that stands for all is reached from this machine.
fn here(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        ip if !ip.is_unspecified() => at,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, at.port()).into(),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, at.port()).into(),
    }
}

/// Asks without a signature, which the agent alone refuses as it does: nginx answers other methods by itself.
async fn knock(at: SocketAddr, path: &str, host: Option<&str>) -> Result<(), String> {
    let asked = timeout(KNOCK, async {
        let stream = TcpStream::connect(at).await.map_err(|error| report::line(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| report::line(&error))?;
        // Its end is seen by the sender.
        tokio::spawn(connection);
        let host = host.map_or_else(|| at.to_string(), str::to_owned);
        let request = Request::post(path).header(header::HOST, host).body(Full::new(Bytes::new()));
        let request = request.map_err(|error| report::line(&error))?;
        Ok(sender.send_request(request).await.map_err(|error| report::line(&error))?.status())
    });
    match asked.await {
        Ok(Ok(StatusCode::UNAUTHORIZED)) => Ok(()),
        Ok(Ok(other)) => Err(format!("answered {other}")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_is_asked_where_its_port_is_published() {
        let port = |host_ip: Option<&str>, protocol: &str| PublishedPort {
            container: 80,
            host: Some(8080),
            host_ip: host_ip.map(str::to_owned),
            protocol: protocol.to_owned(),
        };
        let at = |port: &PublishedPort| front(port, 80).map(|at| at.to_string());
        assert_eq!(at(&port(None, "tcp")).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(at(&port(Some("0.0.0.0"), "tcp")).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(at(&port(Some("::"), "tcp")).as_deref(), Some("[::1]:8080"));
        assert_eq!(at(&port(Some("192.0.2.7"), "tcp")).as_deref(), Some("192.0.2.7:8080"));
        assert_eq!(at(&port(None, "udp")), None);
        assert_eq!(front(&port(None, "tcp"), 443), None);
    }
}
