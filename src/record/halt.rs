//! When the agent keeps its hands off: by a person's word (paused), or because mending did not help (degraded).

use serde::{Deserialize, Serialize};

use super::{Record, RecordError, facts};

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

    /// Mending may begin anew.
    pub async fn undegrade(&self) -> Result<(), RecordError> {
        self.store.write(|sql| facts::forget(sql, DEGRADED)).await
    }
}
