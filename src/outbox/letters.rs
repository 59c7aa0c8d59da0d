//! Letters in SQL: written at most once, taken in order, put off or done.

use rusqlite::{Connection, OptionalExtension, params};

use super::FRESH;
use super::news::News;
use crate::report;
use crate::store::{Error, Migration};

/// The tables of this room, in order.
pub const MIGRATIONS: &[Migration] = &[Migration(
    "CREATE TABLE outbox_targets (
        name  TEXT PRIMARY KEY,
        -- what happened before somebody wanted to be told is not told
        since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE letters (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        target   TEXT NOT NULL,
        key      TEXT NOT NULL,
        news     TEXT NOT NULL,
        at       INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        due      INTEGER NOT NULL,
        done     TEXT, -- 'sent', or why it was given up
        UNIQUE (target, key)
    ) STRICT;
    CREATE INDEX letters_waiting ON letters (target, id) WHERE done IS NULL;",
)];

/// Letters are remembered this long, so that what was told is known: longer than anything is news.
const REMEMBERED: i64 = 8 * FRESH;

/// The next letter for a target.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) id: i64,
    pub(super) key: String,
    pub(super) news: News,
    pub(super) attempts: u32,
    /// Milliseconds since the Unix epoch.
    pub(super) due: i64,
}

/// Notes that a target is to be told from now on; what waits for targets that are gone is forgotten.
pub(super) fn enlist(tx: &Connection, targets: &[&str], now: i64) -> Result<(), Error> {
    for name in targets {
        tx.execute(
            "INSERT INTO outbox_targets (name, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            (name, now),
        )?;
    }
    let known: Vec<String> = tx
        .prepare("SELECT name FROM outbox_targets")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for gone in known.iter().filter(|name| !targets.contains(&name.as_str())) {
        tx.execute("DELETE FROM outbox_targets WHERE name = ?1", [gone])?;
        tx.execute("DELETE FROM letters WHERE target = ?1", [gone])?;
    }
    Ok(())
}

/// Writes news for a target, if it is not written yet. True if it was not.
pub(super) fn write(tx: &Connection, target: &str, news: &News, now: i64) -> Result<bool, Error> {
    if news.at < now - FRESH {
        return Ok(false);
    }
    let text = serde_json::to_string(news).unwrap_or_default();
    let written = tx
        .prepare_cached(
            "INSERT INTO letters (target, key, news, at, due)
             SELECT ?1, ?2, ?3, ?4, ?5 FROM outbox_targets WHERE name = ?1 AND since <= ?4
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![target, news.key(), text, news.at, now])?;
    Ok(written == 1)
}

/// The oldest letter that is not done. One that is no news any more is given up on the way.
pub(super) fn next(tx: &Connection, target: &str, now: i64) -> Result<Option<Letter>, Error> {
    tx.prepare_cached("UPDATE letters SET done = 'too old' WHERE target = ?1 AND done IS NULL AND at < ?2")?
        .execute((target, now - FRESH))?;
    tx.prepare_cached("DELETE FROM letters WHERE done IS NOT NULL AND at < ?1")?
        .execute([now - REMEMBERED])?;
    loop {
        let row = tx
            .prepare_cached(
                "SELECT id, key, news, attempts, due FROM letters
                 WHERE target = ?1 AND done IS NULL ORDER BY id LIMIT 1",
            )?
            .query_row([target], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?))
            })
            .optional()?;
        let Some((id, key, news, attempts, due)) = row else { return Ok(None) };
        match serde_json::from_str(&news) {
            Ok(news) => return Ok(Some(Letter { id, key, news, attempts, due })),
            // Another version wrote it: nobody here can tell it.
            Err(error) => done(tx, id, &report::line(&error))?,
        }
    }
}

/// It was sent, or is given up for this reason.
pub(super) fn done(tx: &Connection, id: i64, how: &str) -> Result<(), Error> {
    tx.prepare_cached("UPDATE letters SET done = ?2, attempts = attempts + 1 WHERE id = ?1")?
        .execute((id, how))?;
    Ok(())
}

/// It was not taken: again at `due`.
pub(super) fn put_off(tx: &Connection, id: i64, due: i64) -> Result<(), Error> {
    tx.prepare_cached("UPDATE letters SET due = ?2, attempts = attempts + 1 WHERE id = ?1")?
        .execute((id, due))?;
    Ok(())
}

/// What was told last of dead letters.
pub(super) fn told_dead(tx: &Connection) -> Result<Option<News>, Error> {
    let text: Option<String> = tx
        .query_row("SELECT news FROM letters WHERE key LIKE 'dead-%' ORDER BY at DESC LIMIT 1", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The newest trouble that was told to anyone and is not known to be over.
pub(super) fn open_trouble(tx: &Connection) -> Result<Option<News>, Error> {
    let text: Option<String> = tx
        .query_row(
            "SELECT news FROM letters WHERE key LIKE 'trouble-%'
                AND replace(key, 'trouble-', 'recovered-') NOT IN (SELECT key FROM letters)
             ORDER BY id DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}
