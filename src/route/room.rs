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

/// nginx holds two connections for each that waits; its others must not suffer.
const SEATS: u64 = 1000;
/// Nobody waits longer than this for a service: what cannot be had soon is refused at once.
const LONGEST: Duration = Duration::from_secs(30);
/// A request that looked up where to go before it was led elsewhere arrives within this.
const LATE: Duration = Duration::from_secs(5);
/// So many begin at once, and then as many again after each `TURN`: a program lets few connections wait for it.
const AT_ONCE: usize = 64;
const TURN: Duration = Duration::from_millis(50);
const CONNECT: Duration = Duration::from_secs(10);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Closed,
    To(SocketAddrV4),
    Nobody,
}

/// While it is there, requests may wait in it. Dropped before anybody was let on, it refuses them.
#[derive(Debug)]
pub struct Room {
    /// What is away.
    pub of: SocketAddrV4,
    door: watch::Sender<Door>,
    refused: Arc<AtomicUsize>,
}

impl Room {
    /// Opens the room. No request is led to it by that.
    pub(super) fn open(folder: &Path, of: SocketAddrV4) -> io::Result<Self> {
        clear(folder)?;
        let path = folder.join(name(of));
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

    /// Waits until what was away takes connections again, for a bounded time.
    pub async fn is_back(&self) {
        let _ = connect(self.of, Instant::now() + CONNECT).await;
    }

    /// Those who wait go there, and so does who still comes; to nowhere, they are refused.
    pub fn let_on(self, to: Option<SocketAddrV4>) {
        self.door.send_replace(to.map_or(Door::Nobody, Door::To));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.door.send_if_modified(|door| {
            let closed = *door == Door::Closed;
            if closed {
                *door = Door::Nobody;
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
    let deadline = Instant::now() + LONGEST;
    let (seats, turns) = (Arc::new(Semaphore::new(seats())), Arc::new(Semaphore::new(AT_ONCE)));
    let mut opened = door.clone();
    let last = async {
        // An error is a room that is gone, which is said before.
        let _ = opened.wait_for(|door| *door != Door::Closed).await;
        sleep(LATE).await;
    };
    tokio::pin!(last);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut last => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (door, turns, refused) = (door.clone(), Arc::clone(&turns), Arc::clone(&refused));
                let seat = Arc::clone(&seats).try_acquire_owned();
                tokio::spawn(async move {
                    let waited = match &seat {
                        Ok(_) => wait(&stream, door, deadline).await,
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
    For(SocketAddrV4),
    InVain,
    /// Who has gone meanwhile wants nothing done.
    Left,
}

async fn wait(stream: &UnixStream, mut door: watch::Receiver<Door>, deadline: Instant) -> Waited {
    loop {
        let look = deadline.min(Instant::now() + LOOK);
        let opened = timeout_at(look, door.wait_for(|door| *door != Door::Closed)).await;
        let opened = opened.map(|door| door.map_or(Door::Nobody, |door| *door));
        if has_left(stream) {
            return Waited::Left;
        }
        match opened {
            Ok(Door::To(to)) => return Waited::For(to),
            Err(_) if Instant::now() < deadline => {}
            _ => return Waited::InVain,
        }
    }
}

fn has_left(stream: &UnixStream) -> bool {
    let ready = stream.ready(Interest::READABLE).now_or_never();
    matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
}

/// It may have been started a moment ago, and is tried until `deadline`, but once at least.
async fn connect(to: SocketAddrV4, deadline: Instant) -> Option<TcpStream> {
    loop {
        let patience = deadline.max(Instant::now() + AGAIN);
        match timeout_at(patience, TcpStream::connect(to)).await {
            Ok(Ok(instance)) => return Some(instance),
            _ if Instant::now() >= deadline => return None,
            _ => sleep(AGAIN).await,
        }
    }
}

async fn pass(mut stream: UnixStream, to: SocketAddrV4, turns: &Semaphore) {
    // For all who have waited it is the same: nobody waits for the patience of others.
    let deadline = Instant::now() + CONNECT;
    let turn = turns.acquire().await;
    let Some(mut instance) = connect(to, deadline).await else {
        drop(turn);
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
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const OF: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 80);

    async fn ask(folder: &Path, what: &str) -> UnixStream {
        let mut stream = UnixStream::connect(folder.join(name(OF))).await.unwrap();
        stream.write_all(what.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(mut stream: UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Answers each with what it was asked, and closes.
    async fn instance() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap().to_string().parse().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 5];
                stream.read_exact(&mut asked).await.unwrap();
                stream.write_all(&asked).await.unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn who_waits_is_answered_by_the_new_instance_and_so_is_who_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..200 {
            waiting.push(ask(folder.path(), "hello").await);
        }
        let to = instance().await;
        room.let_on(Some(to));
        waiting.push(ask(folder.path(), "hello").await);
        for stream in waiting {
            assert_eq!(answer(stream).await, "hello");
        }
    }

    #[tokio::test]
    async fn who_waits_is_passed_on_to_one_that_takes_a_moment_to_listen() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        let waiting = ask(folder.path(), "hello").await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        drop(listener);
        room.let_on(Some(to.to_string().parse().unwrap()));
        sleep(Duration::from_millis(300)).await;
        let listener = TcpListener::bind(to).await.unwrap();
        let (mut instance, _) = listener.accept().await.unwrap();
        instance.write_all(b"there").await.unwrap();
        drop(instance);
        assert_eq!(answer(waiting).await, "there");
    }

    #[tokio::test]
    async fn who_leaves_makes_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        for _ in 0..seats() {
            drop(ask(folder.path(), "hello").await);
        }
        sleep(LOOK + Duration::from_millis(300)).await;
        let stays = ask(folder.path(), "hello").await;
        room.let_on(Some(instance().await));
        assert_eq!(answer(stays).await, "hello");
    }

    #[test]
    fn the_built_in_template_knows_rooms() {
        let text = include_str!("../plan/nginx/nginx.conf.j2");
        assert!(is_known(text) && text.contains("unix:/etc/nginx/agent/$agent_room;"));
        assert!(!is_known("map $realpath_root $agent_instance { default \"\"; }"));
    }

    #[tokio::test]
    async fn who_waits_for_nobody_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        let waiting = ask(folder.path(), &"x".repeat(100_000)).await;
        drop(room);
        assert!(answer(waiting).await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn who_has_left_is_not_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        drop(ask(folder.path(), "hello").await);
        let stays = ask(folder.path(), "there").await;
        sleep(Duration::from_millis(50)).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        room.let_on(Some(listener.local_addr().unwrap().to_string().parse().unwrap()));
        let (mut first, _) = listener.accept().await.unwrap();
        let mut asked = [0; 5];
        first.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"there");
        assert!(timeout(Duration::from_millis(200), listener.accept()).await.is_err());
        drop(stays);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_is_sensible() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open(folder.path(), OF).unwrap();
        let waiting = ask(folder.path(), "hello").await;
        let begun = Instant::now();
        assert!(answer(waiting).await.starts_with("HTTP/1.1 503 "));
        assert!(begun.elapsed() >= LONGEST);
        assert_eq!(room.refused(), 1);
    }

    #[tokio::test]
    async fn what_a_killed_agent_left_is_cleared_away_and_a_room_takes_only_its_own_socket_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(name(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 8), 80)));
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        let first = Room::open(folder.path(), OF).unwrap();
        assert!(!left.exists());
        let second = Room::open(folder.path(), OF).unwrap();
        first.let_on(None);
        sleep(LATE + Duration::from_millis(300)).await;
        assert!(folder.path().join(name(OF)).exists());
        drop(second);
        sleep(LATE + Duration::from_millis(300)).await;
        assert!(!folder.path().join(name(OF)).exists());
    }
}
