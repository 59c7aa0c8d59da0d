//! Runs and their logs.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use crate::model::Revision;
use crate::model::desired::Desired;
use crate::model::run::{Entry, Kind, Outcome, ReleaseId, RunId, Status};
use crate::plan::diff::Plan;
use crate::store::Migration;

use super::{Record, RecordError, from_word, word};

/// A run as it stands. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub id: RunId,
    pub kind: Kind,
    pub revision: String,
    /// The first line of the commit message.
    pub subject: String,
    /// Why it began: what woke the agent, or what a person asked.
    pub reason: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub status: Status,
    pub outcome: Option<Outcome>,
    /// What it made live, or live again.
    pub release: Option<ReleaseId>,
}

/// Until then it was told by the revision.
pub(super) const RELEASE: Migration = Migration(
    "ALTER TABLE runs ADD COLUMN release INTEGER;
    UPDATE runs SET release = CASE WHEN kind IN ('rollback', 'revert')
        THEN (SELECT max(id) FROM releases WHERE revision = runs.revision AND run < runs.id)
        ELSE (SELECT id FROM releases WHERE run = runs.id) END;",
);

/// An entry of a run's log and when it was written (milliseconds since the Unix epoch).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logged {
    pub at: i64,
    #[serde(flatten)]
    pub entry: Entry,
}

impl Record {
    /// Begins a run.
    pub async fn begin(
        &self,
        kind: Kind,
        revision: &Revision,
        subject: &str,
        reason: &str,
        now: i64,
    ) -> Result<RunId, RecordError> {
        let (revision, subject, reason) = (revision.to_string(), subject.to_owned(), reason.to_owned());
        let (kind, status) = (word(&kind)?, word(&Status::Started)?);
        self.store
            .write(move |sql| {
                sql.prepare_cached(
                    "INSERT INTO runs (kind, revision, subject, reason, started_at, status)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![kind, revision, subject, reason, now, status])?;
                Ok(RunId(sql.last_insert_rowid()))
            })
            .await
    }

    /// Appends an entry; an illegal one is refused and changes nothing.
    pub async fn append(&self, run: RunId, entry: Entry, now: i64) -> Result<Status, RecordError> {
        self.store.write(move |sql| append(sql, run, &entry, now)).await
    }

    /// Keeps what the run is about to do beside its log, so that a crash can be recovered from.
    pub async fn keep_intent(&self, run: RunId, plan: &Plan, desired: &Desired) -> Result<(), RecordError> {
        let (plan, desired) = (serde_json::to_string(plan)?, serde_json::to_string(desired)?);
        self.store
            .write(move |sql| {
                sql.execute(
                    "UPDATE runs SET plan = ?2, desired = ?3 WHERE id = ?1",
                    params![run.0, plan, desired],
                )?;
                Ok(())
            })
            .await
    }

    /// What a run was about to do; `None` before it had a plan.
    pub async fn intent(&self, run: RunId) -> Result<Option<(Plan, Desired)>, RecordError> {
        self.store
            .read(move |sql| {
                let row: (Option<String>, Option<String>) =
                    sql.query_row("SELECT plan, desired FROM runs WHERE id = ?1", [run.0], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                let (Some(plan), Some(desired)) = row else { return Ok(None) };
                Ok(Some((serde_json::from_str(&plan)?, serde_json::from_str(&desired)?)))
            })
            .await
    }

    /// The newest runs, newest first.
    pub async fn runs(&self, limit: usize) -> Result<Vec<Run>, RecordError> {
        self.store
            .read(move |sql| {
                let mut select = sql.prepare_cached(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
                let rows = select.query_map([limit as i64], raw)?;
                rows.map(|row| run(row?)).collect()
            })
            .await
    }

    pub async fn run(&self, id: RunId) -> Result<Run, RecordError> {
        self.store
            .read(move |sql| {
                let found = sql
                    .prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
                    .query_row([id.0], raw)
                    .optional()?;
                run(found.ok_or(RecordError::NoRun(id.0))?)
            })
            .await
    }

    /// The plan of a run, once it has one.
    pub async fn plan_of(&self, id: RunId) -> Result<Option<Plan>, RecordError> {
        self.store
            .read(move |sql| {
                let text: Option<String> =
                    sql.query_row("SELECT plan FROM runs WHERE id = ?1", [id.0], |row| row.get(0))?;
                Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
            })
            .await
    }

    /// The log of a run from its entry `from` (counting from 0) on.
    pub async fn log(&self, id: RunId, from: usize) -> Result<Vec<Logged>, RecordError> {
        self.store
            .read(move |sql| {
                let mut select = sql.prepare_cached(
                    "SELECT at, body FROM entries WHERE run = ?1 AND seq >= ?2 ORDER BY seq",
                )?;
                let rows = select.query_map(params![id.0, from as i64], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                })?;
                rows.map(|row| {
                    let (at, body) = row?;
                    Ok(Logged { at, entry: serde_json::from_str(&body)? })
                })
                .collect()
            })
            .await
    }

    /// How long a service that stops first was gone when it was last replaced, in milliseconds.
    pub async fn last_gap(&self, service: &str) -> Result<Option<u64>, RecordError> {
        let service = service.to_owned();
        self.store
            .read(move |sql| {
                let mut select = sql.prepare_cached(
                    "SELECT json_extract(body, '$.millis') FROM entries
                        WHERE json_extract(body, '$.entry') = 'gap' AND json_extract(body, '$.service') = ?1
                        ORDER BY run DESC, seq DESC LIMIT 1",
                )?;
                let millis: Option<i64> = select.query_row([service], |row| row.get(0)).optional()?;
                Ok(millis.and_then(|millis| u64::try_from(millis).ok()))
            })
            .await
    }

    /// From when until when runs after this one had stopped a service to replace it: until they switched or ended, if
    /// they have.
    pub async fn stopped_since(
        &self,
        run: RunId,
        service: &str,
    ) -> Result<Vec<(i64, Option<i64>)>, RecordError> {
        let service = service.to_owned();
        self.store
            .read(move |sql| {
                let mut select = sql.prepare_cached(
                    "SELECT begun.at, (SELECT min(over.at) FROM entries over
                            WHERE over.run = begun.run AND over.seq > begun.seq
                            AND json_extract(over.body, '$.entry') IN ('switched', 'ended'))
                        FROM entries begun WHERE begun.run > ?1
                        AND json_extract(begun.body, '$.entry') = 'bringing-up'
                        AND json_extract(begun.body, '$.order') = 'stop-first'
                        AND json_extract(begun.body, '$.service') = ?2",
                )?;
                let rows = select.query_map(params![run.0, service], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Runs that have begun and not ended: after a start, those that a crash cut off.
    pub async fn unended(&self) -> Result<Vec<Run>, RecordError> {
        self.store
            .read(|sql| {
                let mut select =
                    sql.prepare_cached(&format!("{SELECT} WHERE ended_at IS NULL ORDER BY id"))?;
                let rows = select.query_map([], raw)?;
                rows.map(|row| run(row?)).collect()
            })
            .await
    }

    /// Forgets all but the newest `keep` runs and says which.
    pub async fn prune_runs(&self, keep: usize) -> Result<Vec<RunId>, RecordError> {
        self.store
            .write(move |sql| {
                let mut delete = sql.prepare_cached(
                    "DELETE FROM runs WHERE ended_at IS NOT NULL
                        AND id NOT IN (SELECT id FROM runs ORDER BY id DESC LIMIT ?1)
                        AND id NOT IN (SELECT run FROM releases) RETURNING id",
                )?;
                let rows = delete.query_map([keep as i64], |row| row.get(0))?;
                Ok(rows.map(|id| id.map(RunId)).collect::<Result<_, _>>()?)
            })
            .await
    }
}

/// A run has made a release live.
pub(super) fn reached(sql: &Connection, run: RunId, release: ReleaseId) -> Result<(), RecordError> {
    sql.prepare_cached("UPDATE runs SET release = ?2 WHERE id = ?1")?.execute([run.0, release.0])?;
    Ok(())
}

pub(super) fn append(sql: &Connection, run: RunId, entry: &Entry, now: i64) -> Result<Status, RecordError> {
    let status: String = sql
        .prepare_cached("SELECT status FROM runs WHERE id = ?1")?
        .query_row([run.0], |row| row.get(0))
        .optional()?
        .ok_or(RecordError::NoRun(run.0))?;
    let next = from_word::<Status>(&status)?.next(entry)?;
    sql.prepare_cached(
        "INSERT INTO entries (run, seq, at, body)
         VALUES (?1, (SELECT count(*) FROM entries WHERE run = ?1), ?2, ?3)",
    )?
    .execute(params![run.0, now, serde_json::to_string(entry)?])?;
    let (ended, outcome) = match entry {
        Entry::Ended { outcome } => (Some(now), Some(serde_json::to_string(outcome)?)),
        _ => (None, None),
    };
    sql.prepare_cached(
        "UPDATE runs SET status = ?2, ended_at = ?3, outcome = ?4,
            desired = CASE WHEN ?3 IS NULL THEN desired END WHERE id = ?1",
    )?
    .execute(params![run.0, word(&next)?, ended, outcome])?;
    Ok(next)
}

const SELECT: &str =
    "SELECT id, kind, revision, subject, reason, started_at, ended_at, status, outcome, release FROM runs";

type Raw = (i64, String, String, String, String, i64, Option<i64>, String, Option<String>, Option<i64>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
        row.get(9)?,
    ))
}

fn run(raw: Raw) -> Result<Run, RecordError> {
    let (id, kind, revision, subject, reason, started_at, ended_at, status, outcome, release) = raw;
    Ok(Run {
        id: RunId(id),
        kind: from_word(&kind)?,
        revision,
        subject,
        reason,
        started_at,
        ended_at,
        status: from_word(&status)?,
        outcome: outcome.map(|text| serde_json::from_str(&text)).transpose()?,
        release: release.map(ReleaseId),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MIGRATIONS;
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn what_the_runs_of_an_older_agent_have_made_live_is_told_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.db");
        drop(Store::open(&path, &MIGRATIONS[..2]).unwrap());
        let sql = rusqlite::Connection::open(&path).unwrap();
        let runs = [
            ("deploy", "a"),
            ("deploy", "b"),
            ("heal", "b"),
            ("rollback", "a"),
            ("deploy", "c"),
            ("revert", "a"),
            ("deploy", "a"),
            ("revert", "d"),
        ];
        for (run, (kind, revision)) in (1..).zip(runs) {
            let row = params![run, kind, revision];
            sql.execute("INSERT INTO runs VALUES (?1, ?2, ?3, '', '', 0, 0, 'ended', NULL, NULL, NULL)", row)
                .unwrap();
        }
        for (release, run, revision) in [(10, 1, "a"), (20, 2, "b"), (30, 7, "a")] {
            let row = params![release, run, revision];
            sql.execute("INSERT INTO releases VALUES (?1, ?2, ?3, '', 0, '')", row).unwrap();
        }
        drop(sql);
        let record = Record::new(Store::open(&path, MIGRATIONS).unwrap());
        let made = record.runs(9).await.unwrap().into_iter().rev().map(|run| run.release.map(|id| id.0));
        let made: Vec<_> = made.collect();
        assert_eq!(made, [Some(10), Some(20), None, Some(10), None, Some(10), Some(30), None]);
    }
}
