//! The agent's webhooks and the doors they come in by: a TCP port, and a socket in nginx's folder, on which nginx
//! passes on what it publishes. Nothing else is served at either; orders have a socket of their own.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::kept::Kept;
use super::{AppError, Opened, open};
use crate::http::{Limits, Rate, serve};
use crate::metrics::Answers;
use crate::trigger;

/// In nginx's folder; the name stands in nginx's configuration.
const SOCKET: &str = "hooks.sock";

/// What listens, and what answers there.
pub(super) struct Doors {
    tcp: Option<TcpListener>,
    /// In the end one; two while some wait at the door of the process before.
    unix: Vec<UnixListener>,
    router: Router,
}

/// Opens the doors that are configured, if there is a webhook to come in by them.
pub(super) async fn listen(
    opened: &Opened,
    answers: &Answers,
    kept: &mut Kept,
) -> Result<Option<Doors>, AppError> {
    let config = &opened.config;
    let hooks = open::hooks(config)?;
    let mut router = Router::new();
    if !hooks.is_empty() {
        router = router.merge(Rate::default().limit(trigger::router(hooks, &opened.wakes)));
    }
    if let Some(wing) = &opened.stripe {
        router = router.merge(wing.router());
    }
    if !router.has_routes() {
        return Ok(None);
    }
    let router = answers.count(router);
    let mut doors = Doors { tcp: None, unix: Vec::new(), router };
    if let Some(at) = config.webhook.listen {
        let listener = kept.tcp("webhooks", at).await;
        let failed = |source| AppError::Listen { at: at.to_string(), source };
        doors.tcp = Some(listener.map_err(failed)?);
        tracing::info!("webhooks on http://{at}");
    }
    if let Some(published) = &config.webhook.publish {
        let path = config.nginx_folder().join(SOCKET);
        let failed = |source| AppError::Listen { at: path.display().to_string(), source };
        let listener = open_to_all(&path);
        doors.unix = listener.and_then(|new| kept.unix("webhooks-nginx", new)).map_err(failed)?;
        tracing::info!("webhooks through nginx at {published}");
    }
    Ok(Some(doors))
}

impl Doors {
    /// Serves until `stop`. Both doors share the rates: a client has one bucket, however it comes in.
    pub(super) fn serve(self, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(listener) = self.tcp {
            tasks.spawn(serve(listener, self.router.clone(), Limits::default(), stop.clone()));
        }
        for listener in self.unix {
            tasks.spawn(serve(listener, self.router.clone(), Limits::default(), stop.clone()));
        }
    }
}

/// A socket that every user may connect to, because nginx's workers are another one in their container. On the host
/// the folders above it decide who gets there. It takes the place of an earlier agent's in one step, so that nginx,
/// which looks for it at each request, needs no reload.
fn open_to_all(path: &Path) -> io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o111 != 0o111 {
        fs::set_permissions(folder, Permissions::from_mode(mode | 0o111))?;
    }
    let aside = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&aside)?;
    fs::set_permissions(&aside, Permissions::from_mode(0o666))?;
    fs::rename(&aside, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_agent_takes_the_socket_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx").join(SOCKET);
        let old = open_to_all(&path).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
        let new = open_to_all(&path).unwrap();
        let client = tokio::net::UnixStream::connect(&path);
        let (client, accepted) = tokio::join!(client, new.accept());
        assert!(client.is_ok() && accepted.is_ok());
        drop(old);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o711);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
