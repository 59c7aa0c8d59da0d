use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const NUMBERS: &[Migration] = &[Migration("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")];
const CHILD: &str = "AGENT_TEST_STORE_CHILD";

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/agent.db");
    (folder, path)
}

fn insert(n: i64) -> impl FnOnce(&Connection) -> Result<(), Error> {
    move |tx| Ok(tx.execute("INSERT INTO numbers VALUES (?1)", [n]).map(drop)?)
}

async fn numbers(store: &Store) -> Vec<i64> {
    store
        .read(|tx| -> Result<_, Error> {
            let mut statement = tx.prepare("SELECT n FROM numbers ORDER BY n")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_write_is_there_after_opening_again() {
    let (_folder, path) = place();
    Store::open(&path, NUMBERS).unwrap().write(insert(1)).await.unwrap();
    assert_eq!(numbers(&Store::open(&path, NUMBERS).unwrap()).await, [1]);
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let (_folder, path) = place();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "store::tests::child_that_writes_until_killed"])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged: Vec<i64> =
        lines.filter_map(|line| line.strip_prefix("kept ")?.parse().ok()).take(200).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(acknowledged.len(), 200);

    // Read first as the CLI does with the daemon dead: the log beside the file is not folded in yet.
    for store in [Store::read_only(&path, NUMBERS).unwrap(), Store::open(&path, NUMBERS).unwrap()] {
        let found = numbers(&store).await;
        assert!(acknowledged.iter().all(|n| found.contains(n)), "an acknowledged write is gone");
    }
}

#[tokio::test]
#[ignore = "started by acknowledged_writes_survive_kill_9 as a process to kill"]
async fn child_that_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&path), NUMBERS).unwrap();
    for n in 0.. {
        store.write(insert(n)).await.unwrap();
        if writeln!(std::io::stdout(), "\nkept {n}").is_err() {
            return;
        }
    }
}

#[test]
fn writes_that_wait_share_one_commit() {
    let (_folder, path) = place();
    let (connection, _lock) = open::writable(&path, NUMBERS).unwrap();
    let (queue, mut waiting) = tokio::sync::mpsc::channel::<Box<dyn writer::Work>>(writer::BATCH + 1);
    let mut answers = Vec::new();
    for n in 0..=writer::BATCH as i64 {
        let (work, answer) = writer::Queued::new(insert(n));
        queue.try_send(Box::new(work)).unwrap_or_else(|_| panic!("the queue is too small"));
        answers.push(answer);
    }
    let mut batch = vec![waiting.try_recv().unwrap()];
    writer::transact(&connection, &mut batch, &mut waiting).unwrap();
    assert_eq!(batch.len(), writer::BATCH, "all that fit are in one transaction");
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "no answer before the commit");
    batch.into_iter().for_each(|work| work.answer(Ok(())));
    assert_eq!(answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).count(), writer::BATCH);
    assert!(waiting.try_recv().is_ok(), "one is left for the next");
}

#[tokio::test]
async fn a_failing_write_undoes_itself_only() {
    let (_folder, path) = place();
    let store = Store::open(&path, NUMBERS).unwrap();
    let half_done = store.write(|tx| {
        insert(100)(tx)?;
        insert(100)(tx)
    });
    let panicking = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .write(|tx| -> Result<(), Error> {
                    insert(101)(tx)?;
                    panic!("a bug in the closure")
                })
                .await
        }
    });
    let (good, bad, panicked, also_good) =
        tokio::join!(store.write(insert(1)), half_done, panicking, store.write(insert(2)));
    good.unwrap();
    also_good.unwrap();
    assert!(matches!(bad, Err(Error::Statement(_))), "{bad:?}");
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(numbers(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_caller_s_own_error_undoes_its_write() {
    #[derive(Debug)]
    enum Refusal {
        Store,
        Rule,
    }
    impl From<Error> for Refusal {
        fn from(_: Error) -> Self {
            Self::Store
        }
    }
    let (_folder, path) = place();
    let store = Store::open(&path, NUMBERS).unwrap();
    let refused: Result<(), Refusal> = store
        .write(|tx| {
            insert(1)(tx)?;
            Err(Refusal::Rule)
        })
        .await;
    assert!(matches!(refused, Err(Refusal::Rule)), "{refused:?}");
    assert!(numbers(&store).await.is_empty());
}

#[tokio::test]
async fn a_full_disk_is_named_and_passes() {
    let (_folder, path) = place();
    let store = Store::open(&path, &[Migration("CREATE TABLE blobs (b BLOB)"), NUMBERS[0]]).unwrap();
    let limit = |pages: u32| {
        store.write(move |tx| -> Result<(), Error> {
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(())
        })
    };
    limit(20).await.unwrap();
    let big = || {
        store.write(|tx| -> Result<(), Error> {
            Ok(tx.execute("INSERT INTO blobs VALUES (zeroblob(1000000))", []).map(drop)?)
        })
    };
    let full = big().await;
    assert!(matches!(full, Err(Error::Full)), "{full:?}");
    store.write(insert(1)).await.unwrap();
    limit(100_000).await.unwrap();
    big().await.unwrap();
    assert_eq!(numbers(&store).await, [1]);
}

#[test]
fn a_store_of_a_newer_agent_is_refused() {
    let (_folder, path) = place();
    drop(Store::open(&path, &[NUMBERS[0], Migration("CREATE TABLE later (x)")]).unwrap());
    for refused in [Store::open(&path, NUMBERS), Store::read_only(&path, NUMBERS)] {
        let error = refused.err().unwrap();
        assert!(matches!(error, Error::Newer { found: 2, known: 1 }), "{error}");
    }
}

#[test]
fn a_store_of_an_older_agent_is_migrated_by_the_daemon_only() {
    let (_folder, path) = place();
    drop(Store::open(&path, NUMBERS).unwrap());
    let more = [NUMBERS[0], Migration("CREATE TABLE later (x)")];
    assert!(matches!(Store::read_only(&path, &more).err(), Some(Error::Older { found: 1, known: 2 })));
    drop(Store::open(&path, &more).unwrap());
    assert!(Store::read_only(&path, &more).is_ok());
}

#[tokio::test]
async fn reading_beside_a_writer_sees_what_is_committed() {
    let (_folder, path) = place();
    assert!(matches!(Store::read_only(&path, NUMBERS).err(), Some(Error::Missing { .. })));
    let daemon = Store::open(&path, NUMBERS).unwrap();
    let cli = Store::read_only(&path, NUMBERS).unwrap();
    for n in 1..=3 {
        daemon.write(insert(n)).await.unwrap();
        assert_eq!(numbers(&cli).await.len() as i64, n);
    }
    assert!(matches!(cli.write(insert(9)).await, Err(Error::OpenedForReading)));
    let sneaking = cli.read(insert(9)).await;
    assert!(matches!(sneaking, Err(Error::ReadOnly(_))), "{sneaking:?}");
    drop(daemon);
    assert_eq!(numbers(&cli).await, [1, 2, 3], "also once the daemon has gone");
    drop(cli);
    assert_eq!(numbers(&Store::read_only(&path, NUMBERS).unwrap()).await, [1, 2, 3]);
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let (_folder, path) = place();
    let first = Store::open(&path, NUMBERS).unwrap();
    let us = Some(std::process::id());
    assert!(matches!(Store::open(&path, NUMBERS).err(), Some(Error::Locked { holder, .. }) if holder == us));
    drop(first);
    assert!(Store::open(&path, NUMBERS).is_ok());
}

#[tokio::test]
async fn only_this_user_can_read_the_files() {
    let (_folder, path) = place();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let store = Store::open(&path, NUMBERS).unwrap();
    store.write(insert(1)).await.unwrap();
    let folder = path.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    let files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "database, log, index, lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_is_no_database_is_named_damaged() {
    let (folder, _) = place();
    let path = folder.path().join("agent.db");
    std::fs::write(&path, "not a database at all, but long enough to be taken for one".repeat(40)).unwrap();
    assert!(matches!(Store::open(&path, NUMBERS).err(), Some(Error::Damaged(_))));
}
