//! The pending flag of one stack: set by anyone, taken by the loop when a turn begins, and on disk in
//! between, so that a restart knows of it.
//!
//! There is one flag, not a queue. Thirty wakes while a turn runs are one more turn; the weightiest names the
//! reason, and of several the newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::watch;

use super::Reason;
use crate::report;
use crate::store::{Error, Migration, Store};

pub(super) const TABLE: Migration = Migration(
    "CREATE TABLE wakes (
        stack    TEXT PRIMARY KEY,
        -- grows with every wake, so that taking an older one cannot clear a newer
        sequence INTEGER NOT NULL,
        reason   TEXT NOT NULL,
        at       INTEGER NOT NULL -- Unix seconds
    ) STRICT, WITHOUT ROWID",
);

/// A wake that no turn has taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub reason: Reason,
    /// When it was woken, to the second.
    pub at: DateTime<Utc>,
    sequence: i64,
}

/// The waker and its flag; clones are the same one. Any number may wake, one loop may call [`Wakes::next`].
#[derive(Clone)]
pub struct Wakes {
    store: Store,
    stack: Arc<str>,
    sequence: Arc<AtomicI64>,
    latest: watch::Sender<Option<Pending>>,
}

impl Wakes {
    /// The wakes of `stack`; one that an earlier process did not take is pending again.
    pub async fn open(store: Store, stack: &str) -> Result<Self, Error> {
        let stack: Arc<str> = stack.into();
        let name = Arc::clone(&stack);
        let left = store.read(move |tx| pending(tx, &name)).await?;
        let sequence = left.as_ref().map_or(0, |left| left.sequence);
        let sequence = Arc::new(AtomicI64::new(sequence));
        Ok(Self { store, stack, sequence, latest: watch::Sender::new(left) })
    }

    /// Wakes the loop; returns once the flag is on disk. On an error the loop is woken all the same: only
    /// the memory of it over a restart is missing, and a restart wakes by itself.
    pub async fn wake(&self, reason: Reason) -> Result<(), Error> {
        let wake = self.number(reason);
        let kept = self.keep(wake.clone(), |_| Ok(true)).await;
        self.publish(wake);
        kept.map(drop)
    }

    /// Runs `work` and, when it says yes, wakes the loop: both are on disk together or neither.
    pub async fn wake_if(
        &self,
        reason: Reason,
        work: impl FnOnce(&Connection) -> Result<bool, Error> + Send + 'static,
    ) -> Result<bool, Error> {
        let wake = self.number(reason);
        let woken = self.keep(wake.clone(), work).await?;
        if woken {
            self.publish(wake);
        }
        Ok(woken)
    }

    /// Waits until woken and begins a turn: the flag is down when this returns, and up again with any later
    /// wake. Dropping the future loses no wake. `begun` is called before anyone can see the flag down, so that
    /// whoever sees neither flag nor turn knows that the turn is over.
    pub async fn next(&self, begun: impl Fn(&Reason)) -> Reason {
        loop {
            let seen = self.woken().await;
            if let Err(error) = self.clear(seen).await {
                // The turn matters more: after a crash the flag would only cause one turn too many.
                tracing::error!(
                    error = report::line(&error),
                    stack = &*self.stack,
                    "the pending flag stays on disk"
                );
            }
            // Nothing is awaited from here on, so that the flag and its taker cannot part.
            let mut taken = None;
            self.latest.send_if_modified(|latest| {
                if let Some(pending) = latest.as_ref().filter(|pending| pending.sequence == seen) {
                    begun(&pending.reason);
                    taken = latest.take();
                }
                taken.is_some()
            });
            if let Some(pending) = taken {
                return pending.reason;
            }
        }
    }

    /// Waits until a wake is pending, and leaves it so: what lets a turn notice that it may be out of date.
    pub async fn wait(&self) {
        self.woken().await;
    }

    /// The wake that no turn has taken yet.
    pub fn pending(&self) -> Option<Pending> {
        self.latest.borrow().clone()
    }

    async fn woken(&self) -> i64 {
        let mut latest = self.latest.subscribe();
        loop {
            if let Some(pending) = &*latest.borrow_and_update() {
                return pending.sequence;
            }
            // Cannot fail: `self` holds the sender.
            let _ = latest.changed().await;
        }
    }

    fn number(&self, reason: Reason) -> Pending {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        Pending { reason, at: Utc::now(), sequence }
    }

    fn publish(&self, wake: Pending) {
        self.latest.send_if_modified(|latest| {
            let Some(pending) = latest else {
                *latest = Some(wake);
                return true;
            };
            let newest = pending.sequence < wake.sequence;
            // A turn for the timer does less than one for a person: the person's must not become the timer's.
            let (new, old) = (wake.reason.weight(), pending.reason.weight());
            if new > old || (new == old && newest) {
                pending.reason = wake.reason;
            }
            if newest {
                (pending.sequence, pending.at) = (wake.sequence, wake.at);
            }
            newest
        });
    }

    async fn keep(
        &self,
        wake: Pending,
        work: impl FnOnce(&Connection) -> Result<bool, Error> + Send + 'static,
    ) -> Result<bool, Error> {
        let stack = Arc::clone(&self.stack);
        let write = move |tx: &Connection| {
            let wanted = work(tx)?;
            if wanted {
                // Wakes may reach the writer in another order than they were numbered in.
                tx.prepare_cached(
                    "INSERT INTO wakes (stack, sequence, reason, at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (stack) DO UPDATE
                     SET sequence = excluded.sequence, reason = excluded.reason, at = excluded.at
                     WHERE excluded.sequence > sequence",
                )?
                .execute((
                    &*stack,
                    wake.sequence,
                    text(&wake.reason),
                    wake.at.timestamp(),
                ))?;
            }
            Ok(wanted)
        };
        self.store.write(write).await
    }

    async fn clear(&self, sequence: i64) -> Result<(), Error> {
        let stack = Arc::clone(&self.stack);
        let write = move |tx: &Connection| {
            tx.prepare_cached("DELETE FROM wakes WHERE stack = ?1 AND sequence <= ?2")?
                .execute((&*stack, sequence))?;
            Ok(())
        };
        self.store.write(write).await
    }
}

/// The pending wake of `stack` as it is on disk: for readers beside the daemon, or without one.
pub fn pending(connection: &Connection, stack: &str) -> Result<Option<Pending>, Error> {
    let row = connection
        .query_row("SELECT sequence, reason, at FROM wakes WHERE stack = ?1", [stack], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(row.map(|(sequence, reason, at)| Pending {
        // A reason that another version wrote and this one cannot read is still a wake.
        reason: serde_json::from_str(&reason).unwrap_or(Reason::Boot),
        at: DateTime::from_timestamp(at, 0).unwrap_or_default(),
        sequence,
    }))
}

fn text(reason: &Reason) -> String {
    serde_json::to_string(reason).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn store(folder: &TempDir) -> Store {
        Store::open(&folder.path().join("agent.db"), &[TABLE]).unwrap()
    }

    async fn on_disk(store: &Store) -> Option<Pending> {
        store.read(|tx| pending(tx, "shop")).await.unwrap()
    }

    async fn pending_now(wakes: &Wakes) -> bool {
        tokio::select! { biased; () = wakes.wait() => true, () = std::future::ready(()) => false }
    }

    #[tokio::test]
    async fn many_wakes_during_a_turn_are_one_more_turn() {
        let folder = tempfile::tempdir().unwrap();
        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        wakes.wake(Reason::Boot).await.unwrap();
        assert_eq!(wakes.next(|_| ()).await, Reason::Boot);
        assert!(!pending_now(&wakes).await, "taken when the turn begins");
        futures_util::future::join_all((0..30).map(|_| wakes.wake(Reason::Poll))).await;
        wakes.wake(Reason::Cli).await.unwrap();
        let webhook = Reason::Webhook { delivery: "72d3162e".into() };
        wakes.wake(webhook).await.unwrap();
        wakes.wake(Reason::Poll).await.unwrap();
        assert_eq!(wakes.next(|_| ()).await, Reason::Cli, "the weightiest names the reason");
        assert!(!pending_now(&wakes).await);
        assert_eq!(on_disk(&wakes.store).await, None);
    }

    #[tokio::test]
    async fn a_wake_is_pending_again_after_a_restart_until_taken() {
        let folder = tempfile::tempdir().unwrap();
        let reason = Reason::Webhook { delivery: "72d3162e".into() };
        Wakes::open(store(&folder), "shop").await.unwrap().wake(reason.clone()).await.unwrap();

        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        assert_eq!(wakes.pending().map(|pending| pending.reason), Some(reason.clone()));
        wakes.wake(Reason::Boot).await.unwrap();
        assert_eq!(wakes.next(|_| ()).await, Reason::Boot, "newer than what was left on disk");
        drop(wakes);

        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        assert_eq!(wakes.pending(), None);
    }

    #[tokio::test]
    async fn stacks_do_not_wake_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (shop, blog) = (Wakes::open(store.clone(), "shop"), Wakes::open(store, "blog"));
        let (shop, blog) = (shop.await.unwrap(), blog.await.unwrap());
        shop.wake(Reason::Cli).await.unwrap();
        assert!(!pending_now(&blog).await);
        blog.wake(Reason::Poll).await.unwrap();
        assert_eq!(shop.next(|_| ()).await, Reason::Cli);
        assert!(on_disk(&shop.store).await.is_none());
        assert!(blog.pending().is_some());
    }

    #[tokio::test]
    async fn a_refused_condition_wakes_nobody_and_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        assert!(!wakes.wake_if(Reason::Cli, |_| Ok(false)).await.unwrap());
        let broken = wakes.wake_if(Reason::Cli, |tx| Ok(tx.execute("nonsense", []).map(|_| true)?));
        assert!(broken.await.is_err());
        assert!(!pending_now(&wakes).await);
        assert!(on_disk(&wakes.store).await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_wait_loses_no_wake() {
        let folder = tempfile::tempdir().unwrap();
        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        wakes.wake(Reason::Drift).await.unwrap();
        // Polled once: it has asked the disk to lower the flag and waits for that.
        tokio::select! { biased; _ = wakes.next(|_| ()) => panic!("cleared without waiting for the disk"), () = std::future::ready(()) => {} }
        assert_eq!(wakes.next(|_| ()).await, Reason::Drift);
    }

    #[tokio::test]
    async fn a_loop_beside_many_wakers_misses_none() {
        let folder = tempfile::tempdir().unwrap();
        let wakes = Wakes::open(store(&folder), "shop").await.unwrap();
        let waker = wakes.clone();
        let last = "199";
        tokio::spawn(async move {
            for n in 0..200 {
                waker.wake(Reason::Webhook { delivery: n.to_string() }).await.unwrap();
            }
        });
        let mut turns = 0;
        loop {
            turns += 1;
            if wakes.next(|_| ()).await == (Reason::Webhook { delivery: last.into() }) {
                break;
            }
        }
        assert!(turns <= 200);
        assert!(!pending_now(&wakes).await);
        assert!(on_disk(&wakes.store).await.is_none());
    }
}
