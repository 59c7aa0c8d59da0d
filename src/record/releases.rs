//! Releases: what a run made live, whole, so that it can be restored with nothing else.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use crate::model::Revision;
use crate::model::desired::Desired;
use crate::model::run::{Entry, Outcome, ReleaseId, RunId};

use super::halt::DEGRADED;
use super::held::TARGET;
use super::runs::{append, reached};
use super::taken_back::not_taken_back;
use super::watch;
use super::{Record, RecordError, Target, facts};

/// What a run made live; immutable. Time is milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    pub id: ReleaseId,
    pub run: RunId,
    pub revision: Revision,
    pub subject: String,
    pub created_at: i64,
    /// Holds the environment, so it never leaves the agent.
    #[serde(skip)]
    pub desired: Desired,
}

impl Release {
    /// What came again by a person's word, after it was taken back, has two releases, of which neither is a way back
    /// from the other.
    pub fn same(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.desired.routes == other.desired.routes
            && self.desired.same_services(&other.desired)
    }
}

/// How a new release is to be watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What differs from the release before.
    pub services: BTreeSet<String>,
    /// Milliseconds.
    pub long: i64,
}

/// What is live once a run has switched.
#[derive(Clone, Debug)]
pub enum Live<'a> {
    /// Something new, which becomes a release.
    New { desired: &'a Desired, subject: &'a str, watch: Option<Watched> },
    /// An earlier release.
    Again(&'a Release),
    /// The current release still: it is mended, or only one step on the way to another is done. Revisions without a
    /// release may have been live after it.
    Unreleased,
}

/// Which release runs.
pub(super) const CURRENT: &str = "current-release";
/// The newest revision that is live, though it may have changed nothing.
pub(super) const APPLIED: &str = "applied-revision";

impl Record {
    /// Requests go to the run's instances: its log says so and its result is the current release, in one
    /// transaction. What follows in the run, retiring the old instances, changes neither.
    pub async fn switched(&self, run: RunId, live: Live<'_>, now: i64) -> Result<(), RecordError> {
        match live {
            Live::New { desired, subject, watch } => {
                self.release_new(run, desired, subject, watch, now).await
            }
            Live::Again(release) => {
                let (id, revision) = (release.id, release.revision.to_string());
                self.store
                    .write(move |sql| {
                        append(sql, run, &Entry::Switched, now)?;
                        match facts::get(sql, TARGET)? {
                            Some(Target::Back { release }) if release == id => {
                                facts::set(sql, TARGET, &serde_json::to_string(&Target::Branch)?)?;
                            }
                            // What comes back by itself is no better than it was.
                            Some(Target::Pinned(hold)) if hold.release == id => not_taken_back(sql, id)?,
                            _ => {}
                        }
                        make_current(sql, run, id, &revision)
                    })
                    .await
            }
            Live::Unreleased => self.append(run, Entry::Switched, now).await.map(drop),
        }
    }

    async fn release_new(
        &self,
        run: RunId,
        desired: &Desired,
        subject: &str,
        watched: Option<Watched>,
        now: i64,
    ) -> Result<(), RecordError> {
        let (text, revision) = (serde_json::to_string(desired)?, desired.revision.to_string());
        let (desired, subject) = (desired.clone(), subject.to_owned());
        self.store
            .write(move |sql| {
                append(sql, run, &Entry::Switched, now)?;
                sql.prepare_cached(
                    "INSERT INTO releases (run, revision, subject, created_at, desired)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![run.0, revision, subject, now, text])?;
                let id = ReleaseId(sql.last_insert_rowid());
                // What was live until now turned bad at the last moment: with that it is over, and nobody goes back to it.
                let good = match facts::get(sql, TARGET)? {
                    Some(Target::Back { release }) => {
                        facts::set(sql, TARGET, &serde_json::to_string(&Target::Branch)?)?;
                        Some(release)
                    }
                    // Nor to what has not been watched to its end.
                    _ => match watch::watch(sql)? {
                        Some(unproven) => Some(watch::proven(sql, &unproven, None, now)?),
                        None => facts::get(sql, CURRENT)?,
                    },
                };
                if let Some(watched) = watched
                    && let Some(back_to) = good
                {
                    watch::begin(sql, (run, &desired), watched, back_to, now)?;
                }
                make_current(sql, run, id, &revision)?;
                not_taken_back(sql, id)
            })
            .await
    }

    /// Ends a run whose revision asked for nothing new: it is live as it is.
    pub async fn unchanged(&self, run: RunId, revision: &Revision, now: i64) -> Result<(), RecordError> {
        let revision = serde_json::to_string(revision)?;
        self.store
            .write(move |sql| {
                facts::set(sql, APPLIED, &revision)?;
                facts::forget(sql, DEGRADED)?;
                append(sql, run, &Entry::Ended { outcome: Outcome::Unchanged }, now)?;
                Ok(())
            })
            .await
    }

    pub async fn current(&self) -> Result<Option<Release>, RecordError> {
        self.store
            .read(|sql| match facts::get::<ReleaseId>(sql, CURRENT)? {
                Some(id) => release(sql, id).map(Some),
                None => Ok(None),
            })
            .await
    }

    /// The newest revision that is live.
    pub async fn applied(&self) -> Result<Option<Revision>, RecordError> {
        self.fact(APPLIED).await
    }

    pub async fn release(&self, id: ReleaseId) -> Result<Release, RecordError> {
        self.store.read(move |sql| release(sql, id)).await
    }

    /// Newest first.
    pub async fn releases(&self) -> Result<Vec<Release>, RecordError> {
        self.store
            .read(|sql| {
                let mut select = sql.prepare_cached(&format!("{SELECT} ORDER BY id DESC"))?;
                let rows = select.query_map([], raw)?;
                rows.map(|row| shape(row?)).collect()
            })
            .await
    }

    /// Nothing of the stack runs any more, by a person's word.
    pub async fn forget_current(&self) -> Result<(), RecordError> {
        self.store
            .write(|sql| {
                sql.execute("DELETE FROM facts WHERE key IN (?1, ?2)", [CURRENT, APPLIED])?;
                Ok(())
            })
            .await
    }

    /// Forgets all but the newest `keep` releases, as many that were not taken back, the current one and `spared`.
    pub async fn prune_releases(&self, keep: usize, spared: Option<ReleaseId>) -> Result<(), RecordError> {
        self.store
            .write(move |sql| {
                let current: Option<ReleaseId> = facts::get(sql, CURRENT)?;
                sql.execute(
                    "DELETE FROM releases WHERE id IS NOT ?2 AND id IS NOT ?3
                        AND id NOT IN (SELECT id FROM releases ORDER BY id DESC LIMIT ?1)
                        AND id NOT IN (SELECT id FROM releases
                            WHERE id NOT IN (SELECT release FROM taken_back) ORDER BY id DESC LIMIT ?1)",
                    params![keep as i64, current.map(|id| id.0), spared.map(|id| id.0)],
                )?;
                Ok(())
            })
            .await
    }
}

fn make_current(sql: &Connection, run: RunId, id: ReleaseId, revision: &str) -> Result<(), RecordError> {
    reached(sql, run, id)?;
    facts::set(sql, CURRENT, &id.0.to_string())?;
    facts::forget(sql, DEGRADED)?;
    facts::set(sql, APPLIED, &serde_json::to_string(revision)?)
}

const SELECT: &str = "SELECT id, run, revision, subject, created_at, desired FROM releases";

type Raw = (i64, i64, String, i64, String);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

pub(super) fn release(sql: &Connection, id: ReleaseId) -> Result<Release, RecordError> {
    let found = sql.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?.query_row([id.0], raw).optional()?;
    shape(found.ok_or(RecordError::NoRelease(id.0))?)
}

fn shape((id, run, subject, created_at, desired): Raw) -> Result<Release, RecordError> {
    let desired: Desired = serde_json::from_str(&desired)?;
    let revision = desired.revision.clone();
    Ok(Release { id: ReleaseId(id), run: RunId(run), revision, subject, created_at, desired })
}
