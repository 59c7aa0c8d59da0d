//! The watch over a new release: durable, so that an agent that starts again goes on with it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::model::run::{Failure, ReleaseId, RunId};

use super::held::{DENY, TARGET};
use super::releases::{APPLIED, CURRENT};
use super::{Record, RecordError, Target, Why, facts};

/// A release that has been live for a short time only. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The run that made it live. A watch counts only while what that run made is the current release.
    pub run: RunId,
    /// Where everything goes when it turns bad.
    pub back_to: ReleaseId,
    /// What the run changed: others are no affair of this release.
    pub services: BTreeSet<String>,
    /// When requests went to it.
    pub since: i64,
    pub until: i64,
}

const WATCH: &str = "watch";

impl Record {
    /// The watch over the release that runs.
    pub async fn watch(&self) -> Result<Option<Watch>, RecordError> {
        self.store.read(watch).await
    }

    /// The release has shown itself good for long enough.
    pub async fn end_watch(&self, run: RunId) -> Result<(), RecordError> {
        self.store
            .write(move |sql| match watch(sql)? {
                Some(watch) if watch.run == run => facts::forget(sql, WATCH),
                _ => Ok(()),
            })
            .await
    }

    /// The release turned bad: its revision is denied, and the release before it is what is to be reached. All of
    /// it in one transaction, and only if this watch still counts and nobody chose another target meanwhile; says
    /// whether it was so.
    pub async fn go_back(&self, from: &Watch, failure: Failure, now: i64) -> Result<bool, RecordError> {
        let (run, why) = (from.run, serde_json::to_string(&Why::WentBad { failure })?);
        self.store
            .write(move |sql| {
                let Some(watch) = watch(sql)?.filter(|watch| watch.run == run) else { return Ok(false) };
                if facts::get::<Target>(sql, TARGET)?.unwrap_or_default() != Target::Branch {
                    return Ok(false);
                }
                // A later commit that changed nothing asks for the same bad release.
                let applied: Option<String> = facts::get(sql, APPLIED)?;
                let made = made_by(sql, run)?.map(|(_, revision)| revision);
                for revision in applied.into_iter().chain(made) {
                    sql.execute(DENY, params![revision, why, run.0, now])?;
                }
                let target = Target::Back { release: watch.back_to };
                facts::set(sql, TARGET, &serde_json::to_string(&target)?)?;
                facts::forget(sql, WATCH)?;
                Ok(true)
            })
            .await
    }
}

/// Takes the place of an earlier watch.
pub(super) fn begin(sql: &Connection, watch: &Watch) -> Result<(), RecordError> {
    facts::set(sql, WATCH, &serde_json::to_string(watch)?)
}

fn watch(sql: &Connection) -> Result<Option<Watch>, RecordError> {
    let Some(watch) = facts::get::<Watch>(sql, WATCH)? else { return Ok(None) };
    let current: Option<ReleaseId> = facts::get(sql, CURRENT)?;
    let made = made_by(sql, watch.run)?;
    Ok(made.is_some_and(|(release, _)| Some(release) == current).then_some(watch))
}

/// The release that a run made, and its revision.
fn made_by(sql: &Connection, run: RunId) -> Result<Option<(ReleaseId, String)>, RecordError> {
    let mut select = sql.prepare_cached("SELECT id, revision FROM releases WHERE run = ?1")?;
    let made = select.query_row([run.0], |row| Ok((ReleaseId(row.get(0)?), row.get(1)?)));
    Ok(made.optional()?)
}
