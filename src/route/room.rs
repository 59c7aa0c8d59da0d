//! A waiting room: a socket beside nginx's file, where requests wait while the instance that they would go to is
//! replaced. They are not read: nginx has sent them, the kernel keeps them, and once somebody is there to answer, each
//! is passed on as it is. Only who cannot wait any longer is answered here.

use std::io;
use std::net::SocketAddrV4;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncWriteExt, Interest, copy_bidirectional, sink};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::model::route::{CONNECT, WAIT};

/// nginx holds two connections for each that waits; its others must not suffer.
const SEATS: u64 = 1000;
/// A request that looked up where to go before it was led elsewhere arrives within this.
const LATE: Duration = Duration::from_secs(5);
/// So many begin at once, and then as many again after each `TURN`: a program lets few connections wait for it.
const AT_ONCE: usize = 64;
const TURN: Duration = Duration::from_millis(50);
/// How long one of several may take to be connected to, and one of many to be the next who is.
const NEXT: Duration = Duration::from_secs(2);
/// The only one is asked anew after this: what a full queue has dropped the kernel sends again after a second only.
const ANEW: Duration = Duration::from_millis(300);
/// Between two tries to connect to what is just starting, and between two looks whether who waits has left.
const AGAIN: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(500);
/// For whoever is refused to take the answer.
const FAREWELL: Duration = Duration::from_secs(2);

const SUFFIX: &str = ".sock";
const PREFIX: &str = "wait-";
/// What stands in a configuration that leads to rooms; one from before, or of an operator's own, may not.
const KNOWN_BY: &str = "wait-[";

/// The name, in nginx's folder, of the room for what would go to this address. The template knows its form.
pub(super) fn name(of: SocketAddrV4) -> String {
    format!("{PREFIX}{}-{}{SUFFIX}", of.ip(), of.port())
}

/// Whether nginx would find a room with this configuration.
pub(super) fn is_known(text: &str) -> bool {
    text.contains(KNOWN_BY)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Door {
    Closed,
    /// To these; without any, who waits is refused.
    Open(Vec<SocketAddrV4>),
}

static HERE: AtomicUsize = AtomicUsize::new(0);
/// Those of them who were let on and are not connected yet.
static ENTERING: AtomicUsize = AtomicUsize::new(0);

/// How many wait in any room, or have waited and are not answered yet.
pub fn waiting() -> usize {
    HERE.load(Ordering::Relaxed)
}

/// Waits until nobody is on the way to an instance any more, for as long as they get there: what is stopped before they
/// have reached it would leave them there.
pub async fn all_entered() {
    let (mut least, mut since) = (usize::MAX, Instant::now());
    loop {
        let entering = ENTERING.load(Ordering::Relaxed);
        if entering < least {
            (least, since) = (entering, Instant::now());
        }
        if least == 0 || since.elapsed() >= NEXT {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Somebody, counted for as long as they are here.
struct Here(&'static AtomicUsize);

impl Here {
    fn begin(count: &'static AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// While it is there, requests may wait in it. Dropped before anybody was let on, it refuses them.
#[derive(Debug)]
pub struct Room {
    /// What is away: all that a link leads to. The first gives the room its name.
    pub of: Vec<SocketAddrV4>,
    door: watch::Sender<Door>,
    refused: Arc<AtomicUsize>,
}

impl Room {
    /// Opens the room. No request is led to it by that.
    pub(super) fn open(folder: &Path, of: Vec<SocketAddrV4>) -> io::Result<Self> {
        clear(folder)?;
        let first = of.first().ok_or_else(|| io::Error::other("a room for nobody"))?;
        let path = folder.join(name(*first));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // nginx's workers are another user in their container.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        let inode = std::fs::metadata(&path)?.ino();
        let (door, closed) = watch::channel(Door::Closed);
        let refused = Arc::<AtomicUsize>::default();
        tokio::spawn(serve(listener, path, inode, closed, Arc::clone(&refused)));
        Ok(Self { of, door, refused })
    }

    /// How many could not wait until now: it was full, or took too long.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until one of what was away takes connections again, for a bounded time.
    pub async fn is_back(&self) {
        let _ = connect(&self.of, Instant::now() + CONNECT).await;
    }

    /// Those who wait are shared among these, and so is who still comes; to nowhere, they are refused.
    pub fn let_on(self, to: Vec<SocketAddrV4>) {
        self.door.send_replace(Door::Open(to));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.door.send_if_modified(|door| {
            let closed = *door == Door::Closed;
            if closed {
                *door = Door::Open(Vec::new());
            }
            closed
        });
    }
}

/// Away with what a killed agent has left: nobody listens there.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if ours && std::os::unix::net::UnixStream::connect(entry.path()).is_err_and(refused) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

async fn serve(
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    door: watch::Receiver<Door>,
    refused: Arc<AtomicUsize>,
) {
    let deadline = Instant::now() + WAIT;
    let (seats, turns) = (Arc::new(Semaphore::new(seats())), Arc::new(Semaphore::new(AT_ONCE)));
    let mut opened = door.clone();
    let last = async {
        // An error is a room that is gone, which is said before.
        let _ = opened.wait_for(|door| *door != Door::Closed).await;
        sleep(LATE).await;
    };
    tokio::pin!(last);
    for nth in 0.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut last => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (door, turns, refused) = (door.clone(), Arc::clone(&turns), Arc::clone(&refused));
                let seat = Arc::clone(&seats).try_acquire_owned();
                let here = Here::begin(&HERE);
                tokio::spawn(async move {
                    let _here = here;
                    let waited = match &seat {
                        Ok(_) => wait(&stream, nth, door, deadline).await,
                        Err(_) => Waited::InVain,
                    };
                    match waited {
                        Waited::For(to) => pass(stream, to, &turns).await,
                        Waited::InVain => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            refuse(stream, "503 Service Unavailable", "It is being replaced. Try again.\n")
                                .await;
                        }
                        Waited::Left => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!("requests cannot wait: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Meanwhile another room may be there.
    if std::fs::metadata(&path).is_ok_and(|there| there.ino() == inode) {
        let _ = std::fs::remove_file(&path);
    }
}

/// No more than a part of the files that the process may open (each takes two when it is passed on): those who wait are
/// never the reason that something else fails.
fn seats() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    files.map_or(SEATS, |files| SEATS.min(files / 8)) as usize
}

enum Waited {
    /// The first of these, and the others where that one does not answer.
    For(Vec<SocketAddrV4>),
    InVain,
    /// Who has gone meanwhile wants nothing done.
    Left,
}

async fn wait(stream: &UnixStream, nth: usize, mut door: watch::Receiver<Door>, deadline: Instant) -> Waited {
    loop {
        let look = deadline.min(Instant::now() + LOOK);
        let opened = timeout_at(look, door.wait_for(|door| *door != Door::Closed)).await;
        let to = opened.map(|door| match door.as_deref() {
            Ok(Door::Open(to)) => {
                let mut to = to.clone();
                let first = nth % to.len().max(1);
                to.rotate_left(first);
                to
            }
            _ => Vec::new(),
        });
        if has_left(stream) {
            return Waited::Left;
        }
        match to {
            Ok(to) if !to.is_empty() => return Waited::For(to),
            Err(_) if Instant::now() < deadline => {}
            _ => return Waited::InVain,
        }
    }
}

async fn left(stream: &UnixStream) {
    while !has_left(stream) {
        sleep(AGAIN).await;
    }
}

fn has_left(stream: &UnixStream) -> bool {
    let ready = stream.ready(Interest::READABLE).now_or_never();
    matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
}

/// They may have been started a moment ago, and are tried until `deadline`, but each once at least.
async fn connect(to: &[SocketAddrV4], deadline: Instant) -> Option<TcpStream> {
    loop {
        for at in to {
            let patience = match to.len() {
                1 => Instant::now() + ANEW,
                _ => Instant::now() + NEXT,
            };
            if let Ok(Ok(instance)) = timeout_at(patience, TcpStream::connect(at)).await {
                return Some(instance);
            }
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(AGAIN).await;
    }
}

async fn pass(mut stream: UnixStream, to: Vec<SocketAddrV4>, turns: &Semaphore) {
    // For all who have waited it is the same: nobody waits for the patience of others.
    let deadline = Instant::now() + CONNECT;
    let enter = async {
        let _entering = Here::begin(&ENTERING);
        let turn = turns.acquire().await;
        Some((turn, connect(&to, deadline).await?))
    };
    let entered = tokio::select! {
        entered = enter => entered,
        () = left(&stream) => return,
    };
    let Some((turn, mut instance)) = entered else {
        return refuse(stream, "502 Bad Gateway", "It does not answer.\n").await;
    };
    if has_left(&stream) {
        return;
    }
    let _ = instance.set_nodelay(true);
    let passing = copy_bidirectional(&mut stream, &mut instance);
    tokio::pin!(passing);
    if timeout(TURN, &mut passing).await.is_err() {
        drop(turn);
        // One side broke off, and the other sees it.
        let _ = passing.await;
    }
}

/// What was sent is read all the same: closed on unread bytes, a socket loses the answer.
async fn refuse(mut stream: UnixStream, status: &str, why: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         Connection: close\r\n\r\n{why}",
        why.len()
    );
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        tokio::io::copy(&mut stream, &mut sink()).await
    };
    let _ = timeout(FAREWELL, farewell).await;
}

#[cfg(test)]
mod tests;
