//! The secrets the agent makes for destinations.

use rusqlite::Connection;

use crate::http::Secret;
use crate::store::Error;

/// A retired secret is signed with as well for this long (milliseconds): a day, as Stripe itself does.
const OVERLAP: i64 = 24 * 60 * 60 * 1000;

/// A destination's secrets that count, the current one first; none if it never had one.
pub(in super::super) fn secrets(sql: &Connection, destination: &str, now: i64) -> Result<Vec<Secret>, Error> {
    let mut statement = sql.prepare_cached(
        "SELECT secret FROM inbox_secrets WHERE destination = ?1 AND (retired IS NULL OR retired > ?2)
         ORDER BY retired IS NOT NULL, retired DESC",
    )?;
    let texts = statement.query_map((destination, now - OVERLAP), |row| row.get::<_, String>(0))?;
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.into_iter().filter_map(|text| Secret::new(text).ok()).collect())
}

/// Makes `fresh` the destination's first secret, unless somebody was faster.
pub(in super::super) fn first(
    tx: &Connection,
    destination: &str,
    fresh: &Secret,
    now: i64,
) -> Result<Vec<Secret>, Error> {
    tx.execute(
        "INSERT INTO inbox_secrets (destination, secret, made) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM inbox_secrets WHERE destination = ?1 AND retired IS NULL)",
        (destination, fresh.expose(), now),
    )?;
    secrets(tx, destination, now)
}

/// Makes `fresh` the current secret if there is one to replace. What is long retired goes.
pub(in super::super) fn rotate(
    tx: &Connection,
    destination: &str,
    fresh: &Secret,
    now: i64,
) -> Result<bool, Error> {
    tx.execute("DELETE FROM inbox_secrets WHERE retired <= ?1", [now - OVERLAP])?;
    let retired = tx.execute(
        "UPDATE inbox_secrets SET retired = ?2 WHERE destination = ?1 AND retired IS NULL",
        (destination, now),
    )?;
    if retired > 0 {
        tx.execute(
            "INSERT INTO inbox_secrets (destination, secret, made) VALUES (?1, ?2, ?3)",
            (destination, fresh.expose(), now),
        )?;
    }
    Ok(retired > 0)
}
