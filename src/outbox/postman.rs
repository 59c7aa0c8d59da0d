//! One target's postman: takes its letters in order, tries until one is taken, waits ever longer in between. What he
//! waits for keeps nobody else waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Outbox;
use super::letters::{self, Letter};
use super::target::Refused;
use crate::report;
use crate::store;

/// Seconds between attempts; the last one again and again, until the letter is no news any more.
const GAPS: [u64; 7] = [2, 10, 30, 120, 300, 600, 900];
/// What a target asks for in `Retry-After` is granted up to here.
const GRANTED: Duration = Duration::from_secs(3600);
/// Without a bell something may still be waiting: a letter whose writing was not heard of.
const LONG: Duration = Duration::from_secs(60);

pub(super) async fn run(outbox: Arc<Outbox>, place: usize, bell: Arc<Notify>, stop: CancellationToken) {
    loop {
        let wait = match stop.run_until_cancelled(step(&outbox, place)).await {
            None => return,
            Some(Ok(wait)) => wait,
            Some(Err(error)) => {
                tracing::warn!("letters: {}", report::line(&error));
                LONG
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = bell.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Sends the next letter if it is due; says how long to wait for the next step.
async fn step(outbox: &Outbox, place: usize) -> Result<Duration, store::Error> {
    let target = &outbox.targets[place];
    let (name, now) = (target.name(), (outbox.clock)());
    let letter = outbox.store.write(move |tx| letters::next(tx, name, now)).await?;
    let Some(letter) = letter else { return Ok(LONG) };
    if letter.due > now {
        return Ok(Duration::from_millis((letter.due - now).unsigned_abs()));
    }
    match target.send(&outbox.client, &letter.key, &letter.news, now).await {
        Ok(()) => {
            let id = letter.id;
            outbox.store.write(move |tx| letters::done(tx, id, "sent")).await?;
            Ok(Duration::ZERO)
        }
        Err(refused) => put_off(outbox, &letter, name, refused).await,
    }
}

async fn put_off(
    outbox: &Outbox,
    letter: &Letter,
    name: &str,
    refused: Refused,
) -> Result<Duration, store::Error> {
    let gap = GAPS[usize::try_from(letter.attempts).unwrap_or(usize::MAX).min(GAPS.len() - 1)];
    let asked = refused.again_after.unwrap_or_default().min(GRANTED);
    let wait = Duration::from_secs(gap).max(asked);
    let why = &refused.why;
    tracing::warn!(target = name, attempt = letter.attempts + 1, "{} was not told: {why}", letter.key);
    let (id, due) = (letter.id, (outbox.clock)() + wait.as_millis() as i64);
    outbox.store.write(move |tx| letters::put_off(tx, id, due)).await?;
    Ok(wait)
}
