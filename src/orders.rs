//! What a person may tell the agent. An order writes down what is to be reached and wakes the loop; the loop
//! then does what it always does.

use serde::{Deserialize, Serialize};

use crate::model::Revision;
use crate::model::run::ReleaseId;
use crate::record::{Hold, Pause, Record, RecordError, Release, Target, Why};
use crate::store;
use crate::trigger::{Reason, Wakes};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Look at the branch now.
    Deploy {
        allow_prune: bool,
        /// Do not wait for the end of a freeze; counts for ten minutes.
        #[serde(default)]
        despite_freeze: bool,
    },
    /// Back to a release; without one, to the last before the current one that was not taken back itself.
    Rollback { release: Option<ReleaseId>, hold: bool },
    /// Do nothing by itself for so many milliseconds, or until [`Order::Resume`].
    Pause { millis: Option<i64> },
    /// Ends a pause; else follow the branch again, its tip included.
    Resume,
    /// Mend what was given up; else try the tip again although it failed.
    Retry,
    /// Stop and remove the stack's containers and networks; its volumes stay.
    Down,
}

const LOOKING: &str = "looking at the branch";
const FOLLOWING: &str = "following the branch again";

/// Milliseconds: enough for a push that is on its way to arrive, not for the next one to slip through.
const A_WORD_COUNTS: i64 = 10 * 60 * 1000;

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("nothing is live yet, so there is nothing to go back from")]
    NothingLive,
    #[error("release {0} is the oldest that is kept: there is none to go back to")]
    NoneBefore(ReleaseId),
    #[error("every release before {0} was taken back; if {1} is what you want: agent rollback {1}")]
    OnlyBadBefore(ReleaseId, ReleaseId),
    #[error("release {0} is the one that runs")]
    AlreadyThere(ReleaseId),
    #[error("nothing is held or paused: the agent follows the branch")]
    NothingHeld,
    #[error("the agent is paused: `agent resume` first")]
    Paused,
    #[error("release {0} is held: `agent resume` first")]
    Held(ReleaseId),
    #[error("the stack is down: `agent deploy` or `agent resume` brings it back")]
    Down,
    #[error("the tip of the branch is not known yet: the remote was never reached")]
    NoTip,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the order could not be written down")]
    Store(#[from] store::Error),
}

/// Writes the order down, wakes the loop, and says in a line what will happen. `tip` is where the branch was seen
/// last; `now` is in milliseconds since the Unix epoch.
pub async fn obey(
    order: &Order,
    record: &Record,
    wakes: &Wakes,
    tip: Option<Revision>,
    now: i64,
) -> Result<String, OrderError> {
    let said = match order {
        Order::Deploy { .. } | Order::Retry if record.paused(now).await?.is_some() => {
            return Err(OrderError::Paused);
        }
        Order::Deploy { allow_prune, despite_freeze } => {
            if *despite_freeze {
                record.allow_through_freeze(now + A_WORD_COUNTS).await?;
            }
            if *allow_prune {
                record.allow_prune_once(now + A_WORD_COUNTS).await?;
                if let Some(tip) = &tip {
                    record.allow(tip).await?;
                }
            }
            match record.target().await? {
                Target::Down { then } => up_again(record, then).await?,
                // Asked for by name, what was pushed before the rollback may lift it too.
                Target::Pinned(hold) => {
                    record.set_target(&Target::Pinned(Hold { seen: None, ..hold })).await?;
                    LOOKING.to_owned()
                }
                Target::Branch | Target::Back { .. } => LOOKING.to_owned(),
            }
        }
        Order::Rollback { release, hold } => roll_back(record, *release, *hold, tip, now).await?,
        Order::Pause { millis } => {
            let until = millis.map(|millis| now + millis);
            record.pause(&Pause { since: now, until }).await?;
            "paused: nothing is deployed or healed until `agent resume`, or until the time is up".to_owned()
        }
        Order::Resume => resume(record, tip, now).await?,
        Order::Retry => retry(record, tip).await?,
        Order::Down => {
            // What runs may turn bad just now, and is then not what is to come back.
            while !take_down(record).await? {}
            "taking the stack down; volumes stay".to_owned()
        }
    };
    wakes.wake(Reason::Cli).await?;
    Ok(said)
}

/// Says whether the target was still the one that is to be reached afterwards.
async fn take_down(record: &Record) -> Result<bool, OrderError> {
    let target = record.target().await?;
    let then = match &target {
        Target::Down { then } => then.clone(),
        Target::Branch => record.current().await?.map(|it| Target::Back { release: it.id }.into()),
        other => Some(other.clone().into()),
    };
    Ok(record.exchange_target(&target, &Target::Down { then }).await?)
}

async fn roll_back(
    record: &Record,
    release: Option<ReleaseId>,
    hold: bool,
    tip: Option<Revision>,
    now: i64,
) -> Result<String, OrderError> {
    let target = record.target().await?;
    // What ran when the stack was taken down is gone back from like what runs.
    let from = match (record.current().await?, &target) {
        (None, Target::Down { then: Some(then) }) => match then.release() {
            Some(ran) => Some(record.release(ran).await?),
            None => None,
        },
        (current, _) => current,
    };
    let is_down = matches!(target, Target::Down { .. });
    let to = match (release, &from) {
        (Some(id), Some(from)) if id == from.id && !is_down => return Err(OrderError::AlreadyThere(id)),
        (Some(id), _) => record.release(id).await?,
        (None, Some(from)) => before(record, from).await?,
        (None, None) => return Err(OrderError::NothingLive),
    };
    let back = format!("going back to release {} ({})", to.id, to.revision.short());
    let pin = Hold { release: to.id, hold, denied: None, seen: tip, since: now };
    let Some(from) = from.filter(|from| from.id != to.id) else {
        record.set_target(&Target::Pinned(pin)).await?;
        return Ok(back);
    };
    let running = record.applied().await?.unwrap_or_else(|| from.revision.clone());
    // Two releases of one revision differ in what surrounds it: there is nothing to keep out.
    let denied = Some(running).filter(|running| *running != to.revision);
    // A later commit may have changed nothing: the one that brought what runs is as bad.
    let brought = Some(from.revision).filter(|brought| *brought != to.revision);
    record.pin(Hold { denied: denied.clone(), ..pin }, from.run, brought).await?;
    let until = if hold { "`agent resume`" } else { "the next new commit or `agent resume`" };
    Ok(denied
        .map_or_else(|| back.clone(), |denied| format!("{back}; {} stays out until {until}", denied.short())))
}

/// The last release before the current one that was not taken back itself.
pub async fn before(record: &Record, current: &Release) -> Result<Release, OrderError> {
    let (releases, taken_back) = (record.releases().await?, record.taken_back().await?);
    // What was rolled back itself, or turned bad, is chosen only by its number. It is the release that counts: its
    // revision may also be that of a good one, or have changed nothing.
    let bad: Vec<&Release> = releases.iter().filter(|release| taken_back.contains(&release.id)).collect();
    let mut left_out = None;
    for release in releases.iter().filter(|release| release.id < current.id && !release.same(current)) {
        if !bad.iter().any(|bad| release.same(bad)) {
            return Ok(release.clone());
        }
        left_out.get_or_insert(release.id);
    }
    Err(match left_out {
        Some(bad) => OrderError::OnlyBadBefore(current.id, bad),
        None => OrderError::NoneBefore(current.id),
    })
}

/// What was given up is mended, also of a release that is held. The tip, which may be a bad one, is then left alone: it was
/// not asked for.
async fn retry(record: &Record, tip: Option<Revision>) -> Result<String, OrderError> {
    let given_up = record.degraded().await?;
    match (record.target().await?, given_up) {
        (Target::Down { .. }, _) => Err(OrderError::Down),
        (_, Some(given_up)) => {
            record.undegrade().await?;
            Ok(format!("mending {} again", given_up.services.join(", ")))
        }
        (Target::Pinned(hold), None) => Err(OrderError::Held(hold.release)),
        (Target::Branch | Target::Back { .. }, None) => {
            let tip = tip.ok_or(OrderError::NoTip)?;
            record.allow(&tip).await?;
            Ok(format!("trying {} again", tip.short()))
        }
    }
}

async fn resume(record: &Record, tip: Option<Revision>, now: i64) -> Result<String, OrderError> {
    let target = record.target().await?;
    if record.paused(now).await?.is_some() {
        record.end_pause().await?;
        return Ok(match target {
            Target::Pinned(hold) => {
                format!("no longer paused; release {} is still held (once more: agent resume)", hold.release)
            }
            _ => "no longer paused".to_owned(),
        });
    }
    match target {
        Target::Branch | Target::Back { .. } => return Err(OrderError::NothingHeld),
        Target::Down { then } => return up_again(record, then).await,
        Target::Pinned(hold) => {
            // The rollback may not have come that far.
            record.current_stays().await?;
            if let Some(denied) = hold.denied {
                record.allow(&denied).await?;
            }
            // After several rollbacks in a row it is not the tip that the last of them has denied.
            if let Some(tip) = tip
                && record.denial(&tip).await?.is_some_and(|denial| denial.why == Why::RolledBack)
            {
                record.allow(&tip).await?;
            }
        }
    }
    record.set_target(&Target::Branch).await?;
    Ok(FOLLOWING.to_owned())
}

/// What was taken down comes back as it was.
async fn up_again(record: &Record, then: Option<Box<Target>>) -> Result<String, OrderError> {
    let target = then.map_or(Target::Branch, |then| *then);
    record.set_target(&target).await?;
    Ok(match target {
        Target::Pinned(hold) => {
            format!("bringing back release {}, which is still held (once more: agent resume)", hold.release)
        }
        Target::Back { release } => format!("bringing back release {release}"),
        Target::Branch | Target::Down { .. } => FOLLOWING.to_owned(),
    })
}

#[cfg(test)]
mod tests;
