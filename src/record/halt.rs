//! When the agent keeps its hands off: by a person's word (paused), or because mending did not help (degraded).

use serde::{Deserialize, Serialize};

use super::{Record, RecordError, facts};
use crate::model::run::RunId;

/// Nothing is deployed, healed or taken back. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: i64,
    /// `None`: until a person says so.
    pub until: Option<i64>,
}

/// A release that broke as often as it was mended. It is left as it is until something else is to be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Milliseconds since the Unix epoch.
    pub since: i64,
    /// What broke last.
    pub services: Vec<String>,
}

const PAUSED: &str = "paused";
pub(super) const DEGRADED: &str = "degraded";
const ANEW: &str = "mending-anew-after";

impl Record {
    /// The pause, unless it is over.
    pub async fn paused(&self, now: i64) -> Result<Option<Pause>, RecordError> {
        let pause: Option<Pause> = self.fact(PAUSED).await?;
        Ok(pause.filter(|pause| pause.until.is_none_or(|until| until > now)))
    }

    pub async fn pause(&self, pause: &Pause) -> Result<(), RecordError> {
        self.set_fact(PAUSED, pause).await
    }

    pub async fn end_pause(&self) -> Result<(), RecordError> {
        self.store.write(|sql| facts::forget(sql, PAUSED)).await
    }

    pub async fn degraded(&self) -> Result<Option<Degraded>, RecordError> {
        self.fact(DEGRADED).await
    }

    pub async fn degrade(&self, degraded: &Degraded) -> Result<(), RecordError> {
        self.set_fact(DEGRADED, degraded).await
    }

    /// Mending may begin anew: what was tried until now counts no more.
    pub async fn undegrade(&self) -> Result<(), RecordError> {
        self.store
            .write(|sql| {
                facts::forget(sql, DEGRADED)?;
                let newest: Option<i64> = sql.query_row("SELECT max(id) FROM runs", [], |row| row.get(0))?;
                facts::set(sql, ANEW, &newest.unwrap_or_default().to_string())
            })
            .await
    }

    /// The last run before mending began anew.
    pub async fn anew_after(&self) -> Result<RunId, RecordError> {
        Ok(self.fact(ANEW).await?.unwrap_or_default())
    }
}
