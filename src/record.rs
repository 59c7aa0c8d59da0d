//! Runs, releases and what is held, in SQL: append, fold, read. It decides nothing.

mod halt;
mod held;
mod releases;
mod runs;
mod taken_back;
mod watch;

use crate::model::run::IllegalEntry;
use crate::store::{self, Migration, Store};

pub use halt::{Degraded, Pause};
pub use held::{Denial, Hold, Target, Why};
pub use releases::{Live, Release, Watched};
pub use runs::{Logged, Run};
pub use watch::Watch;

/// The tables of this room, in order of their making.
pub const MIGRATIONS: &[Migration] = &[TABLES, taken_back::TABLE, runs::RELEASE];

const TABLES: Migration = Migration(
    "CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        revision TEXT NOT NULL,
        subject TEXT NOT NULL,
        reason TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at INTEGER,
        status TEXT NOT NULL,
        outcome TEXT,
        plan TEXT,
        -- only until the run has ended: it holds the environment
        desired TEXT
    ) STRICT;
    CREATE TABLE entries (
        run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    ) STRICT;
    CREATE TABLE releases (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run INTEGER NOT NULL,
        revision TEXT NOT NULL,
        subject TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        desired TEXT NOT NULL
    ) STRICT;
    CREATE TABLE denials (
        revision TEXT PRIMARY KEY,
        why TEXT NOT NULL,
        run INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;",
);

/// The record of one state folder.
#[derive(Clone)]
pub struct Record {
    store: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the run's log does not allow that")]
    Illegal(#[from] IllegalEntry),
    #[error("the record holds something this version does not understand")]
    Shape(#[from] serde_json::Error),
    #[error("there is no run {0}")]
    NoRun(i64),
    #[error("there is no release {0}")]
    NoRelease(i64),
}

impl RecordError {
    pub fn hint(&self) -> Option<&'static str> {
        if let Self::Store(error) = self { error.hint() } else { None }
    }
}

impl From<rusqlite::Error> for RecordError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Record {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Changes whenever something was written down, here or beside the record in the same store.
    pub fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.store.commits()
    }

    /// A small fact by its name, as JSON.
    pub async fn fact<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, RecordError> {
        self.store.read(move |sql| facts::get(sql, key)).await
    }

    pub async fn set_fact<T: serde::Serialize>(
        &self,
        key: &'static str,
        value: &T,
    ) -> Result<(), RecordError> {
        let value = serde_json::to_string(value)?;
        self.store.write(move |sql| facts::set(sql, key, &value)).await
    }
}

/// The table of small facts.
mod facts {
    use rusqlite::{Connection, OptionalExtension};

    use super::RecordError;

    pub(super) fn get<T: serde::de::DeserializeOwned>(
        sql: &Connection,
        key: &str,
    ) -> Result<Option<T>, RecordError> {
        let text: Option<String> = sql
            .prepare_cached("SELECT value FROM facts WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    pub(super) fn set(sql: &Connection, key: &str, value: &str) -> Result<(), RecordError> {
        sql.prepare_cached(
            "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
        )?
        .execute([key, value])?;
        Ok(())
    }

    pub(super) fn forget(sql: &Connection, key: &str) -> Result<(), RecordError> {
        sql.prepare_cached("DELETE FROM facts WHERE key = ?1")?.execute([key])?;
        Ok(())
    }
}

/// A unit-like enum as its JSON text, without quotes.
fn word<T: serde::Serialize>(value: &T) -> Result<String, RecordError> {
    Ok(serde_json::to_string(value)?.trim_matches('"').to_owned())
}

/// The inverse of [`word`].
fn from_word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    Ok(serde_json::from_value(serde_json::Value::String(text.to_owned()))?)
}
