//! Releases that were taken back: rolled back, or gone back from because they turned bad. Denials do not tell: they are
//! of revisions, forgotten when one is tried again, and one of them stands for all releases of its revision.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::model::run::{ReleaseId, RunId};
use crate::store::Migration;

use super::releases::{CURRENT, release};
use super::{Record, RecordError, facts};

/// What denials told until then is kept.
pub(super) const TABLE: Migration = Migration(
    "CREATE TABLE taken_back (
        release INTEGER PRIMARY KEY REFERENCES releases (id) ON DELETE CASCADE
    ) STRICT;
    INSERT INTO taken_back SELECT id FROM releases
        WHERE run IN (SELECT run FROM denials WHERE why NOT LIKE '{\"why\":\"stalled\"%');",
);

impl Record {
    pub async fn taken_back(&self) -> Result<BTreeSet<ReleaseId>, RecordError> {
        self.store.read(taken_back).await
    }

    /// A person has called off what was to replace the current release.
    pub async fn current_stays(&self) -> Result<(), RecordError> {
        self.store
            .write(|sql| match facts::get(sql, CURRENT)? {
                Some(current) => not_taken_back(sql, current),
                None => Ok(()),
            })
            .await
    }
}

/// What the runs from one to another have made.
pub(super) fn take_back(sql: &Connection, from: RunId, to: RunId) -> Result<(), RecordError> {
    sql.prepare_cached(
        "INSERT OR IGNORE INTO taken_back SELECT id FROM releases WHERE run BETWEEN ?1 AND ?2",
    )?
    .execute(params![from.0, to.0])?;
    Ok(())
}

/// What the way back to a good release leads past, of what a run and those before it have made live since then: it is
/// not known to be bad, and may come again to be watched.
pub(super) fn pass_over(sql: &Connection, good: ReleaseId, since: i64, to: RunId) -> Result<(), RecordError> {
    sql.prepare_cached(
        "INSERT OR IGNORE INTO taken_back SELECT id FROM releases
            WHERE id > ?1 AND created_at >= ?2 AND run <= ?3",
    )?
    .execute(params![good.0, since, to.0])?;
    Ok(())
}

/// It is what a person wants to run, in whichever release: nothing that was taken back comes again by itself.
pub(super) fn not_taken_back(sql: &Connection, id: ReleaseId) -> Result<(), RecordError> {
    // One that cannot be read any more must not undo a switch that has happened.
    let Ok(wanted) = release(sql, id) else { return Ok(()) };
    for other in taken_back(sql)? {
        if release(sql, other).is_ok_and(|other| other.same(&wanted)) {
            sql.prepare_cached("DELETE FROM taken_back WHERE release = ?1")?.execute([other.0])?;
        }
    }
    Ok(())
}

fn taken_back(sql: &Connection) -> Result<BTreeSet<ReleaseId>, RecordError> {
    let mut select = sql.prepare_cached("SELECT release FROM taken_back")?;
    let releases = select.query_map([], |row| Ok(ReleaseId(row.get(0)?)))?;
    Ok(releases.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{MIGRATIONS, Why};
    use super::*;
    use crate::model::run::Failure;
    use crate::store::Store;

    #[tokio::test]
    async fn what_an_older_agent_has_taken_back_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.db");
        drop(Store::open(&path, &MIGRATIONS[..1]).unwrap());
        let sql = rusqlite::Connection::open(&path).unwrap();
        let failure = Failure::default();
        let whys = [Why::RolledBack, Why::WentBad { failure: failure.clone() }, Why::Stalled { failure }];
        for (run, why) in (2..).zip(whys) {
            let why = serde_json::to_string(&why).unwrap();
            sql.execute("INSERT INTO denials VALUES (?1, ?2, ?1, 0)", params![run, why]).unwrap();
        }
        for run in 1..=4 {
            sql.execute("INSERT INTO releases VALUES (?1 * 10, ?1, '', '', 0, '')", [run]).unwrap();
        }
        drop(sql);
        let record = Record::new(Store::open(&path, MIGRATIONS).unwrap());
        assert_eq!(record.taken_back().await.unwrap(), [20, 30].map(ReleaseId).into());
    }
}
