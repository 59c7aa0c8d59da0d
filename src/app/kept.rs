//! Listening sockets that outlive the process. systemd keeps a copy of each (`FileDescriptorStoreMax=` in the unit) and
//! hands it to the next start, so that whoever knocks while the agent is restarted or upgraded waits in the kernel's
//! queue instead of being refused. Stopped for good, the copies are closed.
//!
//! Without a service manager nothing is kept, and nothing else changes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use sd_notify::NotifyState::{FdName, FdStore, FdStoreRemove};
use tokio::net::{TcpListener, UnixListener};

/// What the process before this one left behind, by name.
pub(super) struct Kept(BTreeMap<String, OwnedFd>);

impl Kept {
    /// Whatever was handed over. Once in a process: what is taken is owned.
    #[allow(unsafe_code)]
    pub(super) fn take() -> Self {
        let handed = sd_notify::listen_fds_with_names().into_iter().flatten();
        // SAFETY: the service manager gave these to this very process (LISTEN_PID is checked), and nothing else here
        // knows of them.
        Self(handed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
    }

    /// A TCP listener: the one before if it was at this address, else a new one.
    pub(super) async fn tcp(&mut self, name: &str, at: SocketAddr) -> io::Result<TcpListener> {
        if let Some(fd) = self.0.remove(name) {
            let before = std::net::TcpListener::from(fd);
            if before.local_addr().is_ok_and(|was| was == at) {
                before.set_nonblocking(true)?;
                return TcpListener::from_std(before);
            }
        }
        let listener = TcpListener::bind(at).await?;
        keep(name, listener.as_fd());
        Ok(listener)
    }

    /// A new Unix listener, to be kept from now on, and the one before, at which some may still wait. Nobody else can
    /// come to that one, whose path the new one has taken over.
    pub(super) fn unix(&mut self, name: &str, new: UnixListener) -> io::Result<Vec<UnixListener>> {
        let before = self.0.remove(name).map(|fd| {
            let before = std::os::unix::net::UnixListener::from(fd);
            before.set_nonblocking(true)?;
            UnixListener::from_std(before)
        });
        keep(name, new.as_fd());
        before.into_iter().chain([Ok(new)]).collect()
    }
}

/// What nobody asked for any more need not be kept.
impl Drop for Kept {
    fn drop(&mut self) {
        self.0.keys().for_each(|name| forget(name));
    }
}

fn keep(name: &str, fd: BorrowedFd<'_>) {
    forget(name);
    if let Err(error) = sd_notify::notify_with_fds(&[FdStore, FdName(name)], &[fd]) {
        tracing::debug!(%error, name, "a socket is not kept over a restart");
    }
}

fn forget(name: &str) {
    let _ = sd_notify::notify(&[FdStoreRemove, FdName(name)]);
}
