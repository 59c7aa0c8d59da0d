//! Listening sockets that outlive the process. systemd keeps a copy of each (`FileDescriptorStoreMax=` in the unit) and
//! hands it to the next start, so that whoever knocks while the agent is restarted or upgraded waits in the kernel's
//! queue instead of being refused. Stopped for good, the copies are closed.
//!
//! Without a service manager nothing is kept, and nothing else changes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use listenfd::ListenFd;
use sd_notify::NotifyState::{FdName, FdStore, FdStoreRemove};
use tokio::net::{TcpListener, UnixListener};

/// What the process before this one left behind, with the name of each until it is taken.
pub(super) struct Kept {
    handed: ListenFd,
    names: Vec<Option<String>>,
}

impl Kept {
    /// Whatever was handed over. Once in a process: what is taken is owned.
    pub(super) fn take() -> Self {
        // Named in the order of their numbers (sd_listen_fds_with_names(3)).
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let handed = ListenFd::from_env();
        let mut names: Vec<_> = names.split(':').map(|name| Some(name.to_owned())).collect();
        names.resize(handed.len(), None);
        Self { handed, names }
    }

    /// A TCP listener: the one before if it was at this address, else a new one.
    pub(super) async fn tcp(&mut self, name: &str, at: SocketAddr) -> io::Result<TcpListener> {
        if let Some(index) = self.find(name)
            && let Some(before) = self.handed.take_tcp_listener(index)?
            && before.local_addr().is_ok_and(|was| was == at)
        {
            before.set_nonblocking(true)?;
            return TcpListener::from_std(before);
        }
        let listener = TcpListener::bind(at).await?;
        keep(name, listener.as_fd());
        Ok(listener)
    }

    /// A new Unix listener, to be kept from now on, and the one before, at which some may still wait. Nobody else can
    /// come to that one, whose path the new one has taken over.
    pub(super) fn unix(&mut self, name: &str, new: UnixListener) -> io::Result<Vec<UnixListener>> {
        let index = self.find(name);
        let before = index.map(|index| self.handed.take_unix_listener(index)).transpose()?.flatten();
        let before = before.map(|before| {
            before.set_nonblocking(true)?;
            UnixListener::from_std(before)
        });
        keep(name, new.as_fd());
        before.into_iter().chain([Ok(new)]).collect()
    }

    fn find(&mut self, name: &str) -> Option<usize> {
        let index = self.names.iter().position(|one| one.as_deref() == Some(name))?;
        self.names[index] = None;
        Some(index)
    }
}

/// What nobody asked for any more need not be kept.
impl Drop for Kept {
    fn drop(&mut self) {
        self.names.iter().flatten().for_each(|name| forget(name));
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
