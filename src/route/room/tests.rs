use std::net::{Ipv4Addr, SocketAddr};

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
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(ask(folder.path(), "hello").await);
    }
    let to = instance().await;
    room.let_on(vec![to]);
    waiting.push(ask(folder.path(), "hello").await);
    for stream in waiting {
        assert_eq!(answer(stream).await, "hello");
    }
}

#[tokio::test]
async fn who_waits_is_shared_among_several() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(ask(folder.path(), "hello").await);
    }
    let listeners = [0, 1].map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let to = |listener: &std::net::TcpListener| listener.local_addr().unwrap().to_string().parse().unwrap();
    room.let_on(listeners.iter().map(to).collect());
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        for _ in 0..5 {
            timeout(LATE, listener.accept()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn who_waits_is_passed_on_to_another_where_one_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let dead = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let room = Room::open(folder.path(), vec![dead, instance().await]).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(folder.path().join(name(dead))).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        waiting.push(stream);
    }
    timeout(CONNECT, room.is_back()).await.unwrap();
    room.let_on(vec![dead, instance().await]);
    for stream in waiting {
        assert_eq!(answer(stream).await, "hello");
    }
}

/// One who has waited, and where nobody listens yet.
async fn let_on_too_early(folder: &Path) -> (UnixStream, SocketAddr) {
    let room = Room::open(folder, vec![OF]).unwrap();
    let waiting = ask(folder, "hello").await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    room.let_on(vec![to.to_string().parse().unwrap()]);
    (waiting, to)
}

#[tokio::test]
async fn who_waits_is_passed_on_to_one_that_takes_a_moment_to_listen() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, to) = let_on_too_early(folder.path()).await;
    sleep(Duration::from_millis(300)).await;
    let listener = TcpListener::bind(to).await.unwrap();
    let (mut instance, _) = listener.accept().await.unwrap();
    instance.write_all(b"there").await.unwrap();
    drop(instance);
    assert_eq!(answer(waiting).await, "there");
}

#[tokio::test]
async fn nothing_is_stopped_while_somebody_is_on_the_way_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, to) = let_on_too_early(folder.path()).await;
    while ENTERING.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let reached = tokio::spawn(async move {
        sleep(Duration::from_millis(300)).await;
        TcpListener::bind(to).await.unwrap().accept().await.unwrap()
    });
    all_entered().await;
    assert!(reached.is_finished());
    drop(waiting);
}

#[tokio::test]
async fn nobody_waits_for_one_who_has_left_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, _) = let_on_too_early(folder.path()).await;
    while ENTERING.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    drop(waiting);
    all_entered().await;
    assert_eq!((ENTERING.load(Ordering::Relaxed), self::waiting()), (0, 0));
}

#[tokio::test]
async fn as_long_as_one_after_another_reaches_it_nothing_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(ask(folder.path(), "hello").await);
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    // Its queue is of one, and of one more that Linux has room for.
    let instance = socket.listen(1).unwrap();
    room.let_on(vec![instance.local_addr().unwrap().to_string().parse().unwrap()]);
    while ENTERING.load(Ordering::Relaxed) != 3 {
        sleep(Duration::from_millis(1)).await;
    }
    let slow = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            sleep(NEXT / 2).await;
            taken.push(instance.accept().await);
        }
    });
    all_entered().await;
    assert_eq!(ENTERING.load(Ordering::Relaxed), 0);
    slow.abort();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reaches_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, _) = let_on_too_early(folder.path()).await;
    while ENTERING.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    all_entered().await;
    assert_eq!(ENTERING.load(Ordering::Relaxed), 1);
    drop(waiting);
}

#[tokio::test]
async fn who_leaves_makes_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    for _ in 0..seats() {
        drop(ask(folder.path(), "hello").await);
    }
    sleep(LOOK + Duration::from_millis(300)).await;
    let stays = ask(folder.path(), "hello").await;
    room.let_on(vec![instance().await]);
    assert_eq!(answer(stays).await, "hello");
}

#[tokio::test]
async fn who_finds_it_full_is_refused_at_once_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..seats() {
        waiting.push(ask(folder.path(), "hello").await);
    }
    let late = answer(ask(folder.path(), "hello").await).await;
    assert!(late.starts_with("HTTP/1.1 503 ") && late.contains("\r\nRetry-After: 1\r\n"), "{late}");
    assert_eq!(room.refused(), 1);
    room.let_on(vec![instance().await]);
    for stream in waiting {
        assert_eq!(answer(stream).await, "hello");
    }
}

#[test]
fn the_built_in_template_knows_rooms() {
    let text = include_str!("../../plan/nginx/nginx.conf.j2");
    assert!(is_known(text) && text.contains("unix:/etc/nginx/agent/$agent_room;"));
    assert!(!is_known("map $realpath_root $agent_instance { default \"\"; }"));
}

#[tokio::test]
async fn who_waits_for_nobody_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let waiting = ask(folder.path(), &"x".repeat(100_000)).await;
    drop(room);
    assert!(answer(waiting).await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn who_has_left_is_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    drop(ask(folder.path(), "hello").await);
    let stays = ask(folder.path(), "there").await;
    sleep(Duration::from_millis(50)).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    room.let_on(vec![listener.local_addr().unwrap().to_string().parse().unwrap()]);
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
    let room = Room::open(folder.path(), vec![OF]).unwrap();
    let waiting = ask(folder.path(), "hello").await;
    let begun = Instant::now();
    assert!(answer(waiting).await.starts_with("HTTP/1.1 503 "));
    assert!(begun.elapsed() >= WAIT);
    assert_eq!(room.refused(), 1);
}

#[tokio::test]
async fn what_a_killed_agent_left_is_cleared_away_and_a_room_takes_only_its_own_socket_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(name(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 8), 80)));
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let first = Room::open(folder.path(), vec![OF]).unwrap();
    assert!(!left.exists());
    let second = Room::open(folder.path(), vec![OF]).unwrap();
    first.let_on(vec![]);
    sleep(LATE + Duration::from_millis(300)).await;
    assert!(folder.path().join(name(OF)).exists());
    drop(second);
    sleep(LATE + Duration::from_millis(300)).await;
    assert!(!folder.path().join(name(OF)).exists());
}
