//! What is to be delivered now, and when to look again.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::store::Error;

/// Bytes of bodies taken into memory at once, about.
const BYTES: usize = 4 << 20;

/// An event on its way to one destination.
#[derive(Clone, Debug)]
pub(in super::super) struct Parcel {
    pub(in super::super) delivery: i64,
    pub(in super::super) destination: String,
    pub(in super::super) cause: String,
    pub(in super::super) step: u32,
    pub(in super::super) attempts: u32,
    pub(in super::super) endpoint: String,
    pub(in super::super) id: String,
    pub(in super::super) received: i64,
    pub(in super::super) simulated: bool,
    pub(in super::super) client: Option<String>,
    pub(in super::super) content_type: String,
    pub(in super::super) signature: String,
    pub(in super::super) body: Bytes,
}

/// What there is to do for a destination.
#[derive(Default)]
pub(in super::super) struct Due {
    pub(in super::super) parcels: Vec<Parcel>,
    /// More than these was due.
    pub(in super::super) more: bool,
    /// When the first of what is not due yet will be.
    pub(in super::super) next: Option<i64>,
}

const PARCEL: &str =
    "SELECT d.number, d.destination, d.cause, d.step, d.attempts, e.endpoint, e.id, e.received,
        e.simulated, e.client, e.content_type, e.signature, e.body
    FROM inbox_deliveries d JOIN inbox_events e ON e.number = d.event";

fn read(row: &Row) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        delivery: row.get(0)?,
        destination: row.get(1)?,
        cause: row.get(2)?,
        step: row.get(3)?,
        attempts: row.get(4)?,
        endpoint: row.get(5)?,
        id: row.get(6)?,
        received: row.get(7)?,
        simulated: row.get(8)?,
        client: row.get(9)?,
        content_type: row.get(10)?,
        signature: row.get(11)?,
        body: row.get::<_, Vec<u8>>(12)?.into(),
    })
}

/// Up to `limit` parcels that are due at `now`, the longest due first, without those `under_way`.
///
/// A delivery with a lane waits for the earlier ones of its lane; one under way is still pending here, so it holds
/// its lane too.
pub(in super::super) fn due(
    sql: &Connection,
    destination: &str,
    now: i64,
    under_way: &HashSet<i64>,
    limit: usize,
) -> Result<Due, Error> {
    let mut found = Due::default();
    let mut bytes = 0;
    // No gap is as long as the second condition says: what is due so late was put off by a clock that was wrong.
    for when in ["due <= ?2", "due > ?2 + 54000000"] {
        let mut statement = sql.prepare_cached(&format!(
            "SELECT number FROM inbox_deliveries d
             WHERE destination = ?1 AND state = 'pending' AND {when} AND (lane IS NULL OR NOT EXISTS (
                 SELECT 1 FROM inbox_deliveries earlier
                 WHERE earlier.destination = d.destination AND earlier.lane = d.lane AND earlier.number < d.number
                     AND earlier.state = 'pending' AND earlier.lane IS NOT NULL))
             ORDER BY due, number"
        ))?;
        let mut rows = statement.query((destination, now))?;
        while let Some(row) = rows.next()? {
            let number = row.get(0)?;
            if under_way.contains(&number) {
                continue;
            }
            if found.parcels.len() >= limit || bytes > BYTES {
                found.more = true;
                break;
            }
            let Some(parcel) = parcel(sql, number)? else { continue };
            bytes += parcel.body.len();
            found.parcels.push(parcel);
        }
    }
    found.next = sql
        .prepare_cached(
            "SELECT min(due) FROM inbox_deliveries WHERE destination = ?1 AND state = 'pending' AND due > ?2",
        )?
        .query_row((destination, now), |row| row.get(0))?;
    Ok(found)
}

/// One delivery's parcel, in whatever state it is.
pub(in super::super) fn parcel(sql: &Connection, number: i64) -> Result<Option<Parcel>, Error> {
    let mut statement = sql.prepare_cached(&format!("{PARCEL} WHERE d.number = ?1"))?;
    Ok(statement.query_row([number], read).optional()?)
}

/// What is pending for a destination that is back is due now, but for the deliveries `spared`. Which these were.
///
/// It is an attempt beside the schedule, so the schedule's next gap is the one that it interrupts: a service that comes
/// back often wears out nothing, and one that an event brings down every time still comes to the end of its three days.
pub(in super::super) fn freshen(
    tx: &Connection,
    destination: &str,
    now: i64,
    spared: &HashMap<i64, i64>,
) -> Result<Vec<i64>, Error> {
    let mut waiting = tx.prepare_cached(
        "SELECT number FROM inbox_deliveries WHERE destination = ?1 AND state = 'pending' AND due > ?2",
    )?;
    let waiting = waiting.query_map((destination, now), |row| row.get(0))?;
    let mut freshened: Vec<i64> = waiting.collect::<Result<_, _>>()?;
    freshened.retain(|number| !spared.contains_key(number));
    let mut freshen = tx.prepare_cached(
        "UPDATE inbox_deliveries SET cause = 'retry', step = max(step - 1, 0), due = ?2 WHERE number = ?1",
    )?;
    for number in &freshened {
        freshen.execute((number, now))?;
    }
    Ok(freshened)
}
