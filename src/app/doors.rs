//! How the agent is reached over HTTP: by a TCP port, and by a socket in nginx's folder, on which nginx passes on what it
//! publishes of the agent. What is served at one door is served at both.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppError;
use super::kept::Kept;
use crate::http::{Limits, serve};
use crate::model::route::Published;

/// What listens, and what answers there.
pub(super) struct Doors {
    pub(super) tcp: Option<TcpListener>,
    /// In the end one; two while some wait at the door of the process before.
    pub(super) unix: Vec<UnixListener>,
    pub(super) router: Router,
}

/// Where something of the agent's is served.
pub(super) struct Places<'a> {
    /// What it is, and the name its port is kept under over a restart; its socket has one of its own.
    pub(super) what: &'static str,
    pub(super) behind_nginx: &'static str,
    pub(super) at: Option<SocketAddr>,
    pub(super) published: Option<&'a Published>,
}

impl Doors {
    /// Opens the doors that are configured; `socket` is the name of one in nginx's folder.
    pub(super) async fn open(
        places: &Places<'_>,
        folder: &Path,
        socket: &str,
        router: Router,
        kept: &mut Kept,
    ) -> Result<Self, AppError> {
        let mut doors = Self { tcp: None, unix: Vec::new(), router };
        if let Some(at) = places.at {
            let failed = |source| AppError::Listen { at: at.to_string(), source };
            doors.tcp = Some(kept.tcp(places.what, at).await.map_err(failed)?);
            tracing::info!("{} on http://{at}", places.what);
        }
        if let Some(published) = places.published {
            let path = folder.join(socket);
            let failed = |source| AppError::Listen { at: path.display().to_string(), source };
            let listener = open_to_all(&path);
            doors.unix = listener.and_then(|new| kept.unix(places.behind_nginx, new)).map_err(failed)?;
            tracing::info!("{} through nginx at {published}", places.what);
        }
        Ok(doors)
    }

    /// Serves until `stop`. All doors share the rates: a client has one bucket, however it comes in.
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
/// the folders above it decide who gets there.
fn open_to_all(path: &Path) -> io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o111 != 0o111 {
        fs::set_permissions(folder, Permissions::from_mode(mode | 0o111))?;
    }
    take_over(path, 0o666)
}

/// A socket in the place of an earlier agent's, in one step: whoever looks for it finds one at any time.
pub(super) fn take_over(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let aside = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&aside)?;
    fs::set_permissions(&aside, Permissions::from_mode(mode))?;
    fs::rename(&aside, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_agent_takes_the_socket_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx").join("door.sock");
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
