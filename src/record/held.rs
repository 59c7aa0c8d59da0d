//! What the agent is told to reach, and what it must not try: the target and the denied revisions.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::model::Revision;
use crate::model::run::{Failure, ReleaseId, RunId};

use super::taken_back::take_back;
use super::{Record, RecordError, facts, from_word};

/// What the agent is told to reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "target", rename_all = "kebab-case")]
pub enum Target {
    /// The tip of the branch.
    #[default]
    Branch,
    /// A release that a person chose.
    Pinned(Hold),
    /// The last good release before one that turned bad, or what ran before the stack was taken down; once it is there,
    /// the branch again.
    Back { release: ReleaseId },
    /// Nothing: a person took the stack down.
    Down {
        /// What is to be reached when it comes back: it then runs as it did.
        #[serde(default)]
        then: Option<Box<Target>>,
    },
}

impl Target {
    /// The release that is to run, whatever the branch says.
    pub fn release(&self) -> Option<ReleaseId> {
        match self {
            Self::Pinned(Hold { release, .. }) | Self::Back { release } => Some(*release),
            Self::Branch | Self::Down { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub release: ReleaseId,
    /// Until a person says `resume`; else until the first descendant of the denied revision that is pushed later.
    pub hold: bool,
    /// What was rolled back.
    pub denied: Option<Revision>,
    /// Where the branch was then, as far as that was known: what was pushed before is not new.
    #[serde(default)]
    pub seen: Option<Revision>,
    /// Milliseconds since the Unix epoch.
    pub since: i64,
}

/// A revision that is not tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    pub revision: Revision,
    pub why: Why,
    pub run: RunId,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// It failed in a way that only a change can mend.
    Stalled { failure: Failure },
    /// It was live, and turned bad while it was watched.
    WentBad { failure: Failure },
    /// A person rolled it back.
    RolledBack,
}

impl Why {
    /// What went wrong, unless it is a person's choice.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Stalled { failure } | Self::WentBad { failure } => Some(failure),
            Self::RolledBack => None,
        }
    }
}

pub(super) const TARGET: &str = "target";
const ALLOW_PRUNE: &str = "allow-prune-until";
const THROUGH_FREEZE: &str = "through-freeze-until";

impl Record {
    pub async fn target(&self) -> Result<Target, RecordError> {
        Ok(self.fact(TARGET).await?.unwrap_or_default())
    }

    pub async fn set_target(&self, target: &Target) -> Result<(), RecordError> {
        self.set_fact(TARGET, target).await
    }

    /// The same where it still is `expected`; returns whether it was. What a person has ordered meanwhile stays.
    pub async fn exchange_target(&self, expected: &Target, target: &Target) -> Result<bool, RecordError> {
        let (expected, target) = (expected.clone(), serde_json::to_string(target)?);
        self.store
            .write(move |sql| {
                let still = facts::get::<Target>(sql, TARGET)?.unwrap_or_default() == expected;
                if still {
                    facts::set(sql, TARGET, &target)?;
                }
                Ok(still)
            })
            .await
    }

    /// Pins a release and takes back what it replaces, in one transaction: what the run has made. `brought`: the
    /// revision that it was made of, to be denied too.
    pub async fn pin(&self, hold: Hold, run: RunId, brought: Option<Revision>) -> Result<(), RecordError> {
        self.store
            .write(move |sql| {
                let why = serde_json::to_string(&Why::RolledBack)?;
                for revision in hold.denied.iter().chain(&brought) {
                    sql.execute(DENY, params![revision.as_str(), why, run.0, hold.since])?;
                }
                take_back(sql, run, run)?;
                facts::set(sql, TARGET, &serde_json::to_string(&Target::Pinned(hold))?)
            })
            .await
    }

    pub async fn deny(&self, denial: Denial) -> Result<(), RecordError> {
        let why = serde_json::to_string(&denial.why)?;
        self.store
            .write(move |sql| {
                sql.execute(DENY, params![denial.revision.as_str(), why, denial.run.0, denial.at])?;
                Ok(())
            })
            .await
    }

    pub async fn denial(&self, revision: &Revision) -> Result<Option<Denial>, RecordError> {
        let revision = revision.clone();
        self.store
            .read(move |sql| {
                let found: Option<(String, i64, i64)> = sql
                    .prepare_cached("SELECT why, run, at FROM denials WHERE revision = ?1")?
                    .query_row([revision.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()?;
                found
                    .map(|(why, run, at)| {
                        Ok(Denial { revision, why: serde_json::from_str(&why)?, run: RunId(run), at })
                    })
                    .transpose()
            })
            .await
    }

    /// Revisions that are not tried again by themselves, the newest denial first.
    pub async fn denials(&self, limit: usize) -> Result<Vec<Denial>, RecordError> {
        self.store
            .read(move |sql| {
                let mut select = sql.prepare_cached(
                    "SELECT revision, why, run, at FROM denials ORDER BY at DESC, run DESC LIMIT ?1",
                )?;
                let rows = select.query_map([limit as i64], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
                })?;
                rows.map(|row| {
                    let (revision, why, run, at) = row?;
                    let (revision, why) = (from_word(&revision)?, serde_json::from_str(&why)?);
                    Ok(Denial { revision, why, run: RunId(run), at })
                })
                .collect()
            })
            .await
    }

    /// One plan until `until` (milliseconds since the Unix epoch) may remove most of the stack, by a person's word.
    pub async fn allow_prune_once(&self, until: i64) -> Result<(), RecordError> {
        self.set_fact(ALLOW_PRUNE, &until).await
    }

    /// Whether that word counts at `now`.
    pub async fn prune_allowed(&self, now: i64) -> Result<bool, RecordError> {
        Ok(self.fact::<i64>(ALLOW_PRUNE).await?.is_some_and(|until| now < until))
    }

    /// It counts once.
    pub async fn use_prune_allowance(&self) -> Result<(), RecordError> {
        self.set_fact(ALLOW_PRUNE, &0).await
    }

    /// Until `until` (milliseconds since the Unix epoch) a freeze keeps nothing back, by a person's word.
    pub async fn allow_through_freeze(&self, until: i64) -> Result<(), RecordError> {
        self.set_fact(THROUGH_FREEZE, &until).await
    }

    /// Whether that word counts at `now`.
    pub async fn through_freeze(&self, now: i64) -> Result<bool, RecordError> {
        Ok(self.fact::<i64>(THROUGH_FREEZE).await?.is_some_and(|until| now < until))
    }

    /// A person wants it tried (again).
    pub async fn allow(&self, revision: &Revision) -> Result<(), RecordError> {
        let revision = revision.to_string();
        self.store
            .write(move |sql| {
                sql.execute("DELETE FROM denials WHERE revision = ?1", [revision])?;
                Ok(())
            })
            .await
    }
}

pub(super) const DENY: &str = "INSERT INTO denials (revision, why, run, at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET why = ?2, run = ?3, at = ?4";
