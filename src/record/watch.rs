//! The watch over a new release: durable, so that an agent that starts again goes on with it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::model::desired::Desired;
use crate::model::run::{Failure, ReleaseId, RunId};

use super::held::{DENY, TARGET};
use super::releases::{APPLIED, CURRENT, Release, release};
use super::taken_back::{pass_over, take_back};
use super::{Record, RecordError, Target, Watched, Why, facts};

/// A release that has been live for a short time only. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The run that made it live. A watch counts only while what that run made is the current release.
    pub run: RunId,
    /// Where everything goes when it turns bad: the last release that had stayed well for as long when this one went
    /// live. Where one that came later has stayed well by then, and has nothing of what is bad, that is enough.
    pub back_to: ReleaseId,
    /// What has changed since that one: others are no affair of this release.
    pub services: BTreeSet<String>,
    /// Of these, what is another version than there, with the run whose release brought it: this one, or one within
    /// whose watch this one went live.
    #[serde(default)]
    pub unproven: BTreeMap<String, RunId>,
    /// Which run touched each service last, of those since `back_to`: not everything that changes is another version.
    #[serde(default)]
    pub touched: BTreeMap<String, RunId>,
    /// When the first release after `back_to` went live, where this one did so within the watch over it.
    #[serde(default)]
    pub first: Option<i64>,
    /// When requests went to it.
    pub since: i64,
    pub until: i64,
}

impl Watch {
    /// The run whose release brought a service as it is now.
    pub fn brought(&self, service: &str) -> RunId {
        self.unproven.get(service).or(self.touched.get(service)).copied().unwrap_or(self.run)
    }
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

    /// The release turned bad: its revision is denied, as are those before it that brought what turned bad, and the
    /// last good release is what is to be reached, past what is not proven. All of it in one transaction, and only if
    /// this watch still counts and nobody chose another target meanwhile; says whether it was so.
    pub async fn go_back(&self, from: &Watch, failure: Failure, now: i64) -> Result<bool, RecordError> {
        let brought = failure.service.as_deref().map_or(from.run, |service| from.brought(service));
        let (run, why) = (from.run, serde_json::to_string(&Why::WentBad { failure })?);
        self.store
            .write(move |sql| {
                let Some(watch) = watch(sql)?.filter(|watch| watch.run == run) else { return Ok(false) };
                if facts::get::<Target>(sql, TARGET)?.unwrap_or_default() != Target::Branch {
                    return Ok(false);
                }
                // A later commit that changed nothing asks for the same bad release.
                let applied: Option<String> = facts::get(sql, APPLIED)?;
                let applied = applied.map(|revision| (run, revision));
                for (run, revision) in applied.into_iter().chain(made_from(sql, brought, run)?) {
                    sql.execute(DENY, params![revision, why, run.0, now])?;
                }
                let release = proven(sql, &watch, Some(brought), now)?;
                take_back(sql, brought, run)?;
                pass_over(sql, release, watch.first.unwrap_or(watch.since), run)?;
                let target = Target::Back { release };
                facts::set(sql, TARGET, &serde_json::to_string(&target)?)?;
                facts::forget(sql, WATCH)?;
                Ok(true)
            })
            .await
    }
}

/// Takes the place of the watch over the release before, and goes on with it where that one is not at its end. So
/// does what a run has left live that did not come to its own end.
pub(super) fn begin(
    sql: &Connection,
    (run, desired): (RunId, &Desired),
    Watched { mut services, long }: Watched,
    back_to: ReleaseId,
    now: i64,
) -> Result<(), RecordError> {
    let before = watch(sql)?;
    // The switch has happened: a release that cannot be read any more must not undo it.
    let read = |id| release(sql, id).ok();
    let same_in = |release: Release| desired.same_in(&release.desired);
    let left = facts::get(sql, CURRENT)?.and_then(read).map(same_in).unwrap_or_default();
    let good = read(back_to);
    // Not written down where an older agent did it, or a run that was cut off has left it.
    let by = |watch: &Watch, name| watch.touched.get(name).copied().unwrap_or(watch.run);
    let met =
        before.iter().flat_map(|watch| watch.services.iter().map(|name| (name.clone(), by(watch, name))));
    let mut touched: BTreeMap<String, RunId> = met.collect();
    touched.extend(services.iter().map(|name| (name.clone(), run)));
    touched.retain(|_, by| good.as_ref().is_none_or(|good| *by > good.run));
    let good = good.map(same_in);
    let other =
        desired.services.keys().filter(|name| good.as_ref().is_some_and(|good| !good.contains(*name)));
    let unproven: BTreeMap<String, RunId> = other
        .map(|name| {
            let before = before.as_ref().filter(|_| left.contains(name));
            (name.clone(), before.map_or(run, |before| before.brought(name)))
        })
        .collect();
    services.extend(unproven.keys().chain(touched.keys()).cloned());
    let first = match &before {
        Some(before) => first_after(sql, back_to, before, run)?,
        None => None,
    };
    let watch = Watch { run, back_to, services, unproven, touched, first, since: now, until: now + long };
    facts::set(sql, WATCH, &serde_json::to_string(&watch)?)
}

/// The last release under the watch, before what the run `brought` made, that has stayed well for as long as one is
/// watched: pushes that follow each other closely must not lead back through all of them. Its age alone does not tell:
/// each service in it has been live ever since, or was already where everything goes back to.
pub(super) fn proven(
    sql: &Connection,
    watch: &Watch,
    brought: Option<RunId>,
    now: i64,
) -> Result<ReleaseId, RecordError> {
    // One that cannot be read proves nothing, and keeps nothing from going back.
    let read = |id| release(sql, id).ok().map(|release| release.desired);
    let good = read(watch.back_to);
    let current: Option<ReleaseId> = facts::get(sql, CURRENT)?;
    let Some((current, live)) = current.and_then(|id| Some((id, read(id)?))) else {
        return Ok(watch.back_to);
    };
    let mut ever_since = live.wholly_same_in(&live);
    let since = watch.first.unwrap_or(watch.since);
    let long_ago = now - (watch.until - watch.since);
    // What is only just taking its place says nothing of it.
    let mut select = sql.prepare_cached(
        "SELECT id, run, created_at FROM releases WHERE id > ?1 AND id <= ?2 AND created_at >= ?3
         ORDER BY id DESC",
    )?;
    let mut rows = select.query(params![watch.back_to.0, current.0, since])?;
    while let Some(row) = rows.next()? {
        let (id, run, created_at) = (ReleaseId(row.get(0)?), RunId(row.get(1)?), row.get::<_, i64>(2)?);
        let Some(desired) = read(id) else { break };
        let same = desired.wholly_same_in(&live);
        ever_since.retain(|name| same.contains(name));
        let was = good.as_ref().map(|good| desired.wholly_same_in(good)).unwrap_or_default();
        let earlier = brought.is_none_or(|brought| run < brought);
        let stayed = desired.services.keys().all(|name| ever_since.contains(name) || was.contains(name));
        if earlier && stayed && created_at <= long_ago {
            return Ok(id);
        }
    }
    Ok(watch.back_to)
}

/// When the first release after `back_to` went live, of those under the watch before the one that `run` has made.
fn first_after(
    sql: &Connection,
    back_to: ReleaseId,
    before: &Watch,
    run: RunId,
) -> Result<Option<i64>, RecordError> {
    let since = before.first.unwrap_or(before.since);
    let mut select = sql.prepare_cached(
        "SELECT MIN(created_at) FROM releases WHERE id > ?1 AND created_at >= ?2 AND run < ?3",
    )?;
    Ok(select.query_row(params![back_to.0, since, run.0], |row| row.get(0))?)
}

pub(super) fn watch(sql: &Connection) -> Result<Option<Watch>, RecordError> {
    let Some(watch) = facts::get::<Watch>(sql, WATCH)? else { return Ok(None) };
    let current: Option<ReleaseId> = facts::get(sql, CURRENT)?;
    let made = made_by(sql, watch.run)?;
    Ok((made.is_some() && made == current).then_some(watch))
}

/// The release that a run made.
fn made_by(sql: &Connection, run: RunId) -> Result<Option<ReleaseId>, RecordError> {
    let mut select = sql.prepare_cached("SELECT id FROM releases WHERE run = ?1")?;
    Ok(select.query_row([run.0], |row| Ok(ReleaseId(row.get(0)?))).optional()?)
}

/// The runs from one to another that made releases, and their revisions.
fn made_from(sql: &Connection, from: RunId, to: RunId) -> Result<Vec<(RunId, String)>, RecordError> {
    let mut select = sql.prepare_cached("SELECT run, revision FROM releases WHERE run BETWEEN ?1 AND ?2")?;
    let made = select.query_map([from.0, to.0], |row| Ok((RunId(row.get(0)?), row.get(1)?)))?;
    Ok(made.collect::<Result<_, _>>()?)
}
