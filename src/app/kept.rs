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
use std::os::unix::net::UnixDatagram;
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
/// What a reload hands over beside the sockets, by the name it has there.
const CONFIGURATION: &str = "configuration";
/// Bytes of a configuration that can be handed over; the kernel's own limit is usually a fifth of it.
const LARGEST: usize = 1 << 20;
/// How long systemd may take to hear something.
const HEARD: Duration = Duration::from_secs(5);

/// What the process before this one left behind, and what this one leaves.
#[derive(Default)]
pub struct Kept {
    /// The text that was checked for this process to take up, where a reload began it.
    configuration: Option<String>,
    /// Handed over, each with the name it was kept under, until it is taken.
    handed_tcp: Vec<(String, net::TcpListener)>,
    handed_unix: Vec<(String, OwnedFd)>,
    /// Copies of what listens now. They keep the kernel's queues open when those who serve them have ended.
    tcp: BTreeMap<&'static str, net::TcpListener>,
    unix: BTreeMap<&'static str, OwnedFd>,
}

impl Kept {
    /// Whatever was handed over. Once in a process, before there are threads: what is taken is owned, and the variables
    /// that tell of it are taken too.
    pub fn take() -> Self {
        // Named in the order of their numbers (sd_listen_fds_with_names(3)). What has no name is not ours.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut kept = Self::default();
        let named = names.split(':').take(handed.len()).enumerate().filter(|(_, name)| !name.is_empty());
        for (index, name) in named {
            if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                kept.handed_tcp.push((name.to_owned(), listener));
            } else if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                kept.handed_unix.push((name.to_owned(), listener.into()));
            } else if let Ok(Some(text)) = handed.take_unix_datagram(index) {
                kept.configuration = received(&text).ok();
            }
        }
        kept
    }

    /// The configuration to begin with, if it is not the one that lies on the disk by now.
    pub fn configuration(&mut self) -> Option<String> {
        self.configuration.take()
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
            // What has taken the name meanwhile has put this one out.
            if !self.tcp.contains_key(&*name) {
                forget(&name);
            }
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

    /// What is to be handed over to a program that takes up this configuration and listens at these addresses: also what
    /// this process was handed and has not taken yet. New ones are opened here, so that one that cannot be had is known
    /// while this process still serves.
    pub(super) fn heirs(&mut self, wanted: &[Listen], configuration: &str) -> Result<Heirs, Unavailable> {
        let handed = self.handed_tcp.iter().map(|(_, listener)| listener);
        let ours = self.tcp.values().chain(handed).map(net::TcpListener::local_addr);
        let ours: Vec<SocketAddr> = ours.filter_map(Result::ok).collect();
        let mut new = Vec::new();
        for &Listen { what, at, .. } in wanted.iter().filter(|wanted| !ours.contains(&wanted.at)) {
            // Where one of ours is in the way it can be had only once that one is closed; but the machine must have it.
            let in_the_way = ours.iter().any(|&our| overlap(our, at));
            let port = if in_the_way { 0 } else { at.port() };
            let opened = net::TcpListener::bind((at.ip(), port));
            let opened = opened.map_err(|source| Unavailable::Listen { at, source })?;
            if !in_the_way {
                new.push((what.to_owned(), opened));
            }
        }
        // Whoever asks once more before the end finds them among ours.
        self.handed_tcp.extend(new);
        let copied = self.copies().and_then(|mut heirs| {
            heirs.push((CONFIGURATION.to_owned(), sent(configuration)?));
            Ok(Heirs(heirs))
        });
        copied.map_err(Unavailable::HandOver)
    }

    fn copies(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let tcp = self.tcp.iter().map(|(name, socket)| (*name, socket.as_fd()));
        let unix = self.unix.iter().map(|(name, socket)| (*name, socket.as_fd()));
        let handed_tcp = self.handed_tcp.iter().map(|(name, socket)| (&**name, socket.as_fd()));
        let handed_unix = self.handed_unix.iter().map(|(name, socket)| (&**name, socket.as_fd()));
        let all = tcp.chain(unix).chain(handed_tcp).chain(handed_unix);
        all.map(|(name, socket)| Ok((name.to_owned(), socket.try_clone_to_owned()?))).collect()
    }
}

/// A text to be received by whoever has this. A datagram, because a socket is what can be taken over with its kind known.
fn sent(text: &str) -> io::Result<OwnedFd> {
    if text.len() > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (sender, receiver) = UnixDatagram::pair()?;
    sender.send(text.as_bytes())?;
    Ok(receiver.into())
}

fn received(receiver: &UnixDatagram) -> io::Result<String> {
    receiver.set_nonblocking(true)?;
    let mut bytes = vec![0; LARGEST];
    let length = receiver.recv(&mut bytes)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Why the next program would not have what it needs.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("cannot listen on {at}")]
    Listen { at: SocketAddr, source: io::Error },
    #[error("the listening sockets and the configuration cannot be handed over")]
    HandOver(#[source] io::Error),
}

/// Sockets, and a configuration, for the program that takes this one's place.
pub(super) struct Heirs(Vec<(String, OwnedFd)>);

impl Heirs {
    /// Hands them to `command`, which must be executed by this very process. They keep their numbers: those in between
    /// have no name, and nobody takes them.
    pub(super) fn hand_to(&self, command: &mut Command) -> io::Result<()> {
        let mut names = Vec::new();
        for (name, socket) in &self.0 {
            let index = usize::try_from(socket.as_raw_fd() - FIRST).unwrap_or_default();
            names.resize(names.len().max(index + 1), "");
            names[index] = name.as_str();
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
