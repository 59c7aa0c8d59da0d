//! An attempt, written down, and what becomes of its delivery.

use rusqlite::Connection;

use crate::store::Error;

/// One attempt that is over.
#[derive(Clone, Debug)]
pub(in super::super) struct Ending {
    pub(in super::super) delivery: i64,
    /// When it began.
    pub(in super::super) at: i64,
    /// Milliseconds it took.
    pub(in super::super) took: i64,
    pub(in super::super) url: String,
    pub(in super::super) status: Option<u16>,
    /// Why there is no status.
    pub(in super::super) trouble: Option<String>,
    /// The beginning of the answer's body.
    pub(in super::super) answer: Vec<u8>,
    pub(in super::super) next: Next,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Next {
    Delivered,
    /// Again, at this moment.
    Again(i64),
    Dead,
}

/// Keeps the attempt and moves its delivery on.
///
/// A delivery that a person has given up meanwhile stays so, unless this attempt brought it through.
pub(in super::super) fn finish(tx: &Connection, ending: &Ending) -> Result<(), Error> {
    tx.prepare_cached(
        "INSERT INTO inbox_attempts (delivery, at, took, url, status, trouble, answer)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM inbox_deliveries WHERE number = ?1)",
    )?
    .execute((
        ending.delivery,
        ending.at,
        ending.took,
        &ending.url,
        ending.status,
        &ending.trouble,
        &ending.answer,
    ))?;
    let (state, due) = match ending.next {
        Next::Delivered => ("delivered", ending.at),
        Next::Again(due) => ("pending", due),
        Next::Dead => ("dead", ending.at),
    };
    tx.prepare_cached(
        "UPDATE inbox_deliveries SET attempts = attempts + 1, cause = 'retry',
             step = iif(state = 'pending', step + 1, step),
             state = iif(?2 = 'delivered' OR state = 'pending', ?2, state), due = ?3
         WHERE number = ?1",
    )?
    .execute((ending.delivery, state, due))?;
    Ok(())
}
