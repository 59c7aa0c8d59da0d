//! The ids of webhook deliveries that woke the loop, so that one sent again is known. The id is not signed:
//! this keeps accidents out, not attackers, against whom the fetch is the defence.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::store::{Error, Migration};

pub(super) const TABLE: Migration = Migration(
    "CREATE TABLE deliveries (
        number   INTEGER PRIMARY KEY,
        forge    TEXT NOT NULL,
        id       TEXT NOT NULL,
        received INTEGER NOT NULL, -- Unix seconds
        UNIQUE (forge, id)
    ) STRICT;
    CREATE INDEX deliveries_received ON deliveries (received);",
);

/// Longer than any forge offers to send a delivery again.
const KEPT: TimeDelta = TimeDelta::days(30);
const KEPT_AT_MOST: i64 = 10_000;

/// Remembers a delivery; false if it was known. Forgets the oldest beyond 30 days or 10 000.
///
/// Two requests with one id may race here: the table's constraint lets one of them win, and the other is a
/// known one, not an error.
pub(super) fn remember(tx: &Connection, forge: &str, id: &str, now: DateTime<Utc>) -> Result<bool, Error> {
    let fresh = tx
        .prepare_cached(
            "INSERT INTO deliveries (forge, id, received) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((forge, id, now.timestamp()))?
        == 1;
    if fresh {
        tx.prepare_cached(
            "DELETE FROM deliveries
             WHERE received < ?1 OR number <= (SELECT max(number) FROM deliveries) - ?2",
        )?
        .execute(((now - KEPT).timestamp(), KEPT_AT_MOST))?;
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE.0).unwrap();
        connection
    }

    fn count(tx: &Connection) -> i64 {
        tx.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_delivery_is_new_once_per_forge() {
        let (tx, now) = (table(), Utc::now());
        assert!(remember(&tx, "github", "a", now).unwrap());
        assert!(!remember(&tx, "github", "a", now).unwrap());
        assert!(remember(&tx, "github", "b", now).unwrap());
        assert!(remember(&tx, "elsewhere", "a", now).unwrap());
    }

    #[test]
    fn old_ones_are_forgotten_after_thirty_days() {
        let (tx, now) = (table(), Utc::now());
        remember(&tx, "github", "old", now).unwrap();
        remember(&tx, "github", "younger", now + TimeDelta::days(2)).unwrap();
        remember(&tx, "github", "new", now + TimeDelta::days(31)).unwrap();
        assert_eq!(count(&tx), 2);
        assert!(remember(&tx, "github", "old", now + TimeDelta::days(31)).unwrap());
    }

    #[test]
    fn ten_thousand_are_kept() {
        let (tx, now) = (table(), Utc::now());
        for n in 0..KEPT_AT_MOST + 50 {
            remember(&tx, "github", &n.to_string(), now).unwrap();
        }
        assert_eq!(count(&tx), KEPT_AT_MOST);
        assert!(!remember(&tx, "github", "50", now).unwrap(), "the newest ten thousand are known");
    }
}
