//! What is forgotten. Only events that are done: what is pending or dead stays however old it is.

use rusqlite::Connection;

use crate::store::Error;

/// Bytes of the store that hold something.
pub(in super::super) fn size(sql: &Connection) -> Result<u64, Error> {
    let ask = |pragma: &str| -> Result<u64, Error> {
        Ok(sql.prepare_cached(pragma)?.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    let pages = ask("PRAGMA page_count")?.saturating_sub(ask("PRAGMA freelist_count")?);
    Ok(pages * ask("PRAGMA page_size")?)
}

/// Forgets the oldest events received before `before` that are done, `limit` of them at most. One that no
/// destination has wanted is done once it is older than `claimable`. How many went.
pub(in super::super) fn forget(
    tx: &Connection,
    before: i64,
    claimable: i64,
    limit: usize,
) -> Result<usize, Error> {
    let mut statement = tx.prepare_cached(
        "SELECT number, received, (claimed OR received < ?1) AND NOT EXISTS (
             SELECT 1 FROM inbox_deliveries WHERE event = inbox_events.number AND state IN ('pending', 'dead'))
         FROM inbox_events ORDER BY number",
    )?;
    let mut rows = statement.query([claimable])?;
    let mut done: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        // Numbers follow the time of receipt, so none of the rest is older.
        if row.get::<_, i64>(1)? >= before || done.len() >= limit {
            break;
        }
        if row.get(2)? {
            done.push(row.get(0)?);
        }
    }
    let mut delete = tx.prepare_cached("DELETE FROM inbox_events WHERE number = ?1")?;
    for number in &done {
        delete.execute([number])?;
    }
    Ok(done.len())
}
