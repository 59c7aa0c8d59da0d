//! Listening sockets that outlive what serves them, so that whoever knocks while the agent is restarted, upgraded or
//! reloaded waits in the kernel's queue instead of being refused. systemd keeps a copy of each
//! (`FileDescriptorStoreMax=` in the unit) and hands it to the next start; a reload hands its own over, in the same way
//! (sd_listen_fds(3)). Stopped for good, the copies are closed.
//!
//! Without a service manager nothing is kept over a restart, and nothing else changes.

use std::collections::BTreeMap;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Command;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};
use sd_notify::NotifyState::{Custom, FdName, FdStore, FdStoreRemove};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Listen, overlap};

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// How long systemd may take to hear something.
const HEARD: Duration = Duration::from_secs(5);

/// What the process before this one left behind, and what this one leaves.
pub(super) struct Kept {
    /// Handed over, each with the name it was kept under, until it is taken.
    handed_tcp: Vec<(String, net::TcpListener)>,
    handed_unix: Vec<(String, OwnedFd)>,
    /// Copies of what listens now. They keep the kernel's queues open when those who serve them have ended.
    tcp: BTreeMap<&'static str, net::TcpListener>,
    unix: BTreeMap<&'static str, OwnedFd>,
}

impl Kept {
    /// Whatever was handed over. Once in a process: what is taken is owned.
    pub(super) fn take() -> Self {
        // Named in the order of their numbers (sd_listen_fds_with_names(3)). What has no name is not ours.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let (mut handed_tcp, mut handed_unix) = (Vec::new(), Vec::new());
        let named = names.split(':').take(handed.len()).enumerate().filter(|(_, name)| !name.is_empty());
        for (index, name) in named {
            if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                handed_tcp.push((name.to_owned(), listener));
            } else if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                handed_unix.push((name.to_owned(), listener.into()));
            }
        }
        Self { handed_tcp, handed_unix, tcp: BTreeMap::new(), unix: BTreeMap::new() }
    }

    /// A TCP listener: the one that was handed over if it is at this address, else a new one.
    pub(super) async fn tcp(&mut self, name: &'static str, at: SocketAddr) -> io::Result<TcpListener> {
        let is_at = |listener: &net::TcpListener| listener.local_addr().is_ok_and(|was| was == at);
        let listener = match self.handed_tcp.iter().position(|(_, listener)| is_at(listener)) {
            Some(index) => {
                let (_, before) = self.handed_tcp.swap_remove(index);
                before.set_nonblocking(true)?;
                TcpListener::from_std(before)?
            }
            None => {
                self.make_room(at).await;
                TcpListener::bind(at).await?
            }
        };
        keep(name, listener.as_fd());
        self.tcp.insert(name, listener.as_fd().try_clone_to_owned()?.into());
        Ok(listener)
    }

    /// `127.0.0.1:9090` would keep `0.0.0.0:9090` from being had.
    async fn make_room(&mut self, at: SocketAddr) {
        let has_it = |listener: &net::TcpListener| listener.local_addr().is_ok_and(|was| overlap(was, at));
        let in_the_way: Vec<_> = self.handed_tcp.extract_if(.., |(_, listener)| has_it(listener)).collect();
        for (name, listener) in in_the_way {
            drop(listener);
            forget(&name);
            forgotten().await;
        }
    }

    /// A new Unix listener, to be kept from now on, and those before, at which some may still wait. Nobody else can
    /// come to those, whose path the new one has taken over.
    pub(super) fn unix(&mut self, name: &'static str, new: UnixListener) -> io::Result<Vec<UnixListener>> {
        let before: Vec<_> = self.handed_unix.extract_if(.., |(was, _)| was == name).collect();
        keep(name, new.as_fd());
        self.unix.insert(name, new.as_fd().try_clone_to_owned()?);
        let before = before.into_iter().map(|(_, before)| {
            let before = std::os::unix::net::UnixListener::from(before);
            before.set_nonblocking(true)?;
            UnixListener::from_std(before)
        });
        before.chain([Ok(new)]).collect()
    }

    /// Once everything listens: what nobody asked for is closed, so that whoever comes to it is refused and does not
    /// wait for ever.
    pub(super) fn close_the_rest(&mut self) {
        self.handed_tcp.drain(..).for_each(|(name, _)| {
            if !self.tcp.contains_key(&*name) {
                forget(&name)
            }
        });
        self.handed_unix.drain(..).for_each(|(name, _)| {
            if !self.unix.contains_key(&*name) {
                forget(&name)
            }
        });
    }

    /// What is to be handed over to a program that listens at these addresses. New ones are opened here, so that one
    /// that cannot be had is known while this process still serves.
    pub(super) fn heirs(&self, wanted: &[Listen]) -> Result<Heirs, Unavailable> {
        let unavailable = |at: &dyn ToString, source| Unavailable { at: at.to_string(), source };
        let mut heirs = Vec::new();
        let mut ours = Vec::new();
        for (&name, listener) in &self.tcp {
            let copied = listener.try_clone().and_then(|copy| Ok((listener.local_addr()?, copy)));
            let (at, copy) = copied.map_err(|source| unavailable(&name, source))?;
            ours.push(at);
            heirs.push((name, OwnedFd::from(copy)));
        }
        for &Listen { what, at, .. } in wanted {
            if ours.contains(&at) {
                continue;
            }
            // Where one of ours is in the way it can be had only once that one is closed; but the machine must have it.
            let in_the_way = ours.iter().any(|&our| overlap(our, at));
            let port = if in_the_way { 0 } else { at.port() };
            let new = net::TcpListener::bind((at.ip(), port)).map_err(|source| unavailable(&at, source))?;
            if !in_the_way {
                heirs.push((what, new.into()));
            }
        }
        for (&name, socket) in &self.unix {
            heirs.push((name, socket.try_clone().map_err(|source| unavailable(&name, source))?));
        }
        Ok(Heirs(heirs))
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {at}")]
pub struct Unavailable {
    at: String,
    source: io::Error,
}

/// Sockets for the program that takes this one's place.
pub(super) struct Heirs(Vec<(&'static str, OwnedFd)>);

impl Heirs {
    /// Hands them to `command`, which must be executed by this very process. They keep their numbers: those in between
    /// have no name, and nobody takes them.
    pub(super) fn hand_to(&self, command: &mut Command) -> io::Result<()> {
        let mut names = Vec::new();
        for (name, socket) in &self.0 {
            let index = usize::try_from(socket.as_raw_fd() - FIRST).unwrap_or_default();
            names.resize(names.len().max(index + 1), "");
            names[index] = name;
            // They are open in the program that comes, and in nothing else that is started.
            fcntl_setfd(socket, FdFlags::empty())?;
        }
        command.env("LISTEN_PID", std::process::id().to_string());
        command.env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        Ok(())
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

/// Until systemd has closed what it was told to forget: it hears that on its own time (sd_notify_barrier(3)).
async fn forgotten() {
    let Ok((heard, told)) = io::pipe() else { return };
    if sd_notify::notify_with_fds(&[Custom("BARRIER=1")], &[told.as_fd()]).is_err() {
        return;
    }
    drop(told);
    let Ok(mut heard) = pipe::Receiver::from_owned_fd(heard.into()) else { return };
    // It closes its end, which is all it says.
    let _ = tokio::time::timeout(HEARD, heard.read_u8()).await;
}
