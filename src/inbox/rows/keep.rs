//! An event and its deliveries, written down.

use rusqlite::{Connection, OptionalExtension};

use crate::store::Error;

use super::super::event::Head;
use super::super::{Destination, Setup};

/// An event that has proved to be Stripe's, or ours.
pub(in super::super) struct Incoming {
    pub(in super::super) endpoint: String,
    pub(in super::super) head: Head,
    pub(in super::super) received: i64,
    pub(in super::super) simulated: bool,
    pub(in super::super) client: Option<String>,
    pub(in super::super) content_type: String,
    pub(in super::super) signature: String,
    pub(in super::super) body: Vec<u8>,
}

/// What became of it.
pub(in super::super) struct Kept {
    pub(in super::super) fresh: bool,
    /// Destinations that have something to do now.
    pub(in super::super) woken: Vec<String>,
    /// Deliveries that the caller itself is to attempt, with their destinations.
    pub(in super::super) at_once: Vec<(i64, String)>,
}

/// Keeps the event once, with a delivery for every destination that wants it.
///
/// "Seen" is not "delivered": one that comes again revives what is dead of it, and finds destinations that have
/// appeared since. Nothing else of what is kept changes. But one that a person made up stands in nobody's way.
pub(in super::super) fn keep(tx: &Connection, incoming: &Incoming, setup: &Setup) -> Result<Kept, Error> {
    let wanting: Vec<&Destination> = setup.wanting(&incoming.endpoint, &incoming.head.kind).collect();
    let (number, fresh) = event(tx, incoming, !wanting.is_empty())?;
    let mut kept = Kept { fresh, woken: Vec::new(), at_once: Vec::new() };
    for destination in wanting {
        let lane = incoming.head.object.as_deref();
        // One that passes through is never pending, so that no lane takes it: it is dead until its one attempt succeeds.
        let state = if destination.passthrough { "dead" } else { "pending" };
        match delivery(tx, number, destination, state, lane, incoming.received)? {
            Some(delivery) if destination.passthrough => {
                kept.at_once.push((delivery, destination.name.clone()));
            }
            Some(_) => kept.woken.push(destination.name.clone()),
            None => {}
        }
    }
    Ok(kept)
}

/// The event's number, and whether it is new.
fn event(tx: &Connection, incoming: &Incoming, claimed: bool) -> Result<(i64, bool), Error> {
    let Incoming { endpoint, head, .. } = incoming;
    if !incoming.simulated {
        make_room(tx, endpoint, &head.id)?;
    }
    let inserted = tx
        .prepare_cached(
            "INSERT INTO inbox_events (endpoint, id, kind, thin, livemode, account, object, created, received,
                 simulated, client, content_type, signature, body, claimed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT DO NOTHING",
        )?
        .execute((
            endpoint,
            &head.id,
            &head.kind,
            head.thin,
            head.livemode,
            &head.account,
            &head.object,
            head.created,
            incoming.received,
            incoming.simulated,
            &incoming.client,
            &incoming.content_type,
            &incoming.signature,
            &incoming.body,
            claimed,
        ))?;
    if inserted == 1 {
        return Ok((tx.last_insert_rowid(), true));
    }
    let number = tx
        .prepare_cached(
            "UPDATE inbox_events SET repeats = repeats + 1, claimed = claimed OR ?3
             WHERE endpoint = ?1 AND id = ?2 RETURNING number",
        )?
        .query_row((endpoint, &head.id, claimed), |row| row.get(0))?;
    Ok((number, false))
}

/// What a person made up under this id gives way to the real event: it is kept under another name, so that an attempt
/// under way ends where it began, and is tried no more.
fn make_room(tx: &Connection, endpoint: &str, id: &str) -> Result<(), Error> {
    let made_up = tx
        .prepare_cached(
            "UPDATE inbox_events SET id = id || '.simulated.' || number
             WHERE endpoint = ?1 AND id = ?2 AND simulated RETURNING number",
        )?
        .query_row((endpoint, id), |row| row.get::<_, i64>(0))
        .optional()?;
    if let Some(number) = made_up {
        tx.prepare_cached(
            "UPDATE inbox_deliveries SET state = 'discarded' WHERE event = ?1 AND state IN ('pending', 'dead')",
        )?
        .execute([number])?;
    }
    Ok(())
}

/// The delivery's number if there is something to do for it now: it is new, or was dead.
fn delivery(
    tx: &Connection,
    event: i64,
    destination: &Destination,
    state: &str,
    lane: Option<&str>,
    now: i64,
) -> Result<Option<i64>, Error> {
    let lane = lane.filter(|_| destination.ordered);
    let number = tx
        .prepare_cached(
            "INSERT INTO inbox_deliveries (event, destination, state, cause, due, lane)
             VALUES (?1, ?2, ?3, 'initial', ?4, ?5)
             ON CONFLICT (event, destination) DO UPDATE SET state = ?3, cause = 'retry', step = 0, due = ?4
             WHERE state = 'dead' RETURNING number",
        )?
        .query_row((event, &destination.name, state, now, lane), |row| row.get(0))
        .optional()?;
    Ok(number)
}

/// Deliveries for the events received from `after` on that nobody has wanted so far, where somebody does now. Stripe
/// has its answer, so one that would pass through is the agent's to deliver too. The destinations that have something
/// to do.
pub(in super::super) fn claim(
    tx: &Connection,
    setup: &Setup,
    after: i64,
    now: i64,
) -> Result<Vec<String>, Error> {
    let mut unclaimed = tx.prepare_cached(
        "SELECT number, endpoint, kind, object FROM inbox_events
         WHERE claimed = 0 AND received >= ?1 ORDER BY number",
    )?;
    let mut rows = unclaimed.query([after])?;
    let mut woken = Vec::new();
    let mut claimed = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let (endpoint, kind): (String, String) = (row.get(1)?, row.get(2)?);
        let object: Option<String> = row.get(3)?;
        for destination in setup.wanting(&endpoint, &kind) {
            delivery(tx, number, destination, "pending", object.as_deref(), now)?;
            claimed.push(number);
            woken.push(destination.name.clone());
        }
    }
    let mut claim = tx.prepare_cached("UPDATE inbox_events SET claimed = 1 WHERE number = ?1")?;
    for number in claimed {
        claim.execute([number])?;
    }
    woken.sort_unstable();
    woken.dedup();
    Ok(woken)
}
