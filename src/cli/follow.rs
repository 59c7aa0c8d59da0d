//! Following an order to the end of what it caused.

use std::time::Duration;

use tokio::time::Instant;

use super::error::CliError;
use super::out::Out;
use super::progress::Progress;
use super::reach::Agent;
use crate::app::control::{Accepted, Status};
use crate::model::run::RunId;
use crate::reconcile::{Doing, HeldBack, Situation, Wrong};
use crate::record::{Record, Run};

/// Between two looks: short at first, for what is done at once.
const SOON: Duration = Duration::from_millis(10);
const EVERY: Duration = Duration::from_millis(100);
/// How long a daemon may be away, for a restart, before following it is given up.
const AWAY: Duration = Duration::from_secs(15);
/// A loop that is idle this long with nothing pending has nothing to do with the order any more.
const IDLE: Duration = Duration::from_secs(5);

/// What was seen when the loop came to rest.
pub(super) struct Rest {
    /// The newest run that began, or went on, since the order.
    pub(super) run: Option<Run>,
    /// When requests went to that run's instances (milliseconds since the Unix epoch).
    pub(super) switched_at: Option<i64>,
    pub(super) wrong: Option<Wrong>,
    pub(super) tip: Option<String>,
    pub(super) held_back: Option<HeldBack>,
}

/// Tells what happens until the loop has come to rest. `after`: runs up to this one are not of interest.
pub(super) async fn follow(
    agent: &Agent,
    record: &Record,
    accepted: &Accepted,
    after: RunId,
    out: &Out,
) -> Result<Rest, CliError> {
    let mut progress = Progress::new(out, after);
    progress.step(&accepted.said);
    tokio::select! {
        rest = watch(agent, record, accepted, &mut progress) => rest,
        never = agent.drive() => match never {},
        Ok(()) = tokio::signal::ctrl_c() => Err(CliError::Left { hint: agent.left() }),
    }
}

async fn watch(
    agent: &Agent,
    record: &Record,
    accepted: &Accepted,
    progress: &mut Progress<'_>,
) -> Result<Rest, CliError> {
    let mut idle_since = None;
    let (mut heard, mut pause) = (Instant::now(), SOON);
    loop {
        let status = match agent.status().await {
            Ok(status) => status,
            Err(error) if heard.elapsed() > AWAY => return Err(error),
            Err(_) => {
                tokio::time::sleep(EVERY).await;
                continue;
            }
        };
        heard = Instant::now();
        let run = progress.tell(record).await?;
        if !resting(&status) {
            idle_since = None;
        } else {
            let since = *idle_since.get_or_insert_with(Instant::now);
            let turned = status.situation.turns > accepted.turns;
            if turned || since.elapsed() > IDLE {
                let switched_at = run.as_ref().and_then(|run| progress.switched_at(run.id));
                let Situation { wrong, tip, held_back, .. } = status.situation;
                return Ok(Rest { run, switched_at, wrong, tip, held_back });
            }
        }
        tokio::time::sleep(pause).await;
        pause = EVERY.min(pause + pause / 4);
    }
}

fn resting(status: &Status) -> bool {
    status.situation.doing == Doing::Idle && !status.pending
}
