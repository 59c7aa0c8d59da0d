//! Sending again what a person names, and giving up what a person gives up.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::store::Error;

use super::super::Setup;
use super::filter::Filter;
use super::list::State;

/// Which events are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "lowercase")]
pub enum Which {
    /// The one with this id, at every endpoint it came to.
    One { id: String },
    /// Those received from `after` on and before `before`, of one type or beginning (`invoice.*`).
    Range { after: i64, before: Option<i64>, kind: Option<String> },
    /// Those whose delivery is dead.
    Dead,
}

/// The numbers of the events that are meant, oldest first.
pub(in super::super) fn meant(
    sql: &Connection,
    which: &Which,
    destination: Option<&str>,
) -> Result<Vec<i64>, Error> {
    let filter = match which {
        Which::One { id } => {
            let mut statement =
                sql.prepare_cached("SELECT number FROM inbox_events WHERE id = ?1 ORDER BY number")?;
            return Ok(statement.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?);
        }
        Which::Range { after, before, kind } => {
            Filter { after: Some(*after), before: *before, kind: kind.clone(), ..Filter::default() }
        }
        Which::Dead => Filter {
            state: Some(State::Dead),
            destination: destination.map(str::to_owned),
            ..Filter::default()
        },
    };
    let (conditions, values) = filter.conditions();
    let mut statement =
        sql.prepare(&format!("SELECT number FROM inbox_events e WHERE {conditions} ORDER BY number"))?;
    Ok(statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Makes the deliveries of these events due now, those that were delivered too: to `destination`, or to all that
/// want them. Which destinations have something to do, and how many deliveries in all.
pub(in super::super) fn again(
    tx: &Connection,
    events: &[i64],
    destination: Option<&str>,
    cause: &str,
    setup: &Setup,
    now: i64,
) -> Result<(Vec<String>, usize), Error> {
    let mut event = tx.prepare_cached("SELECT endpoint, kind, object FROM inbox_events WHERE number = ?1")?;
    let mut make = tx.prepare_cached(
        "INSERT INTO inbox_deliveries (event, destination, state, cause, due, lane)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5)
         ON CONFLICT (event, destination) DO UPDATE SET state = 'pending', cause = ?3, step = 0, due = ?4",
    )?;
    let (mut woken, mut count) = (BTreeSet::new(), 0);
    for number in events {
        let found = event.query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        // It may have been forgotten since it was looked up.
        let found: Option<(String, String, Option<String>)> = found.optional()?;
        let Some((endpoint, kind, object)) = found else { continue };
        let meant = setup.destinations.iter().filter(|known| match destination {
            // Whom a person names need not have asked for it.
            Some(name) => known.name == name,
            None => known.wants(&endpoint, &kind),
        });
        for known in meant {
            let lane = object.as_deref().filter(|_| known.ordered);
            count += make.execute((number, &known.name, cause, now, lane))?;
            woken.insert(known.name.clone());
        }
    }
    Ok((woken.into_iter().collect(), count))
}

/// Makes what is dead of these events due now, and nothing else: to `destination`, or to all that are configured.
/// Which destinations have something to do, and how many deliveries in all.
pub(in super::super) fn revive(
    tx: &Connection,
    events: &[i64],
    destination: Option<&str>,
    cause: &str,
    setup: &Setup,
    now: i64,
) -> Result<(Vec<String>, usize), Error> {
    let mut revive = tx.prepare_cached(
        "UPDATE inbox_deliveries SET state = 'pending', cause = ?3, step = 0, due = ?4
         WHERE event = ?1 AND destination = ?2 AND state = 'dead'",
    )?;
    let (mut woken, mut count) = (BTreeSet::new(), 0);
    let names = setup.destinations.iter().map(|known| &known.name);
    for name in names.filter(|name| destination.is_none_or(|only| only == *name)) {
        for event in events {
            let revived = revive.execute((event, name, cause, now))?;
            count += revived;
            if revived > 0 {
                woken.insert(name.clone());
            }
        }
    }
    Ok((woken.into_iter().collect(), count))
}

/// Gives up what is dead of these events, with `pending` also what is not done. How many deliveries.
pub(in super::super) fn discard(
    tx: &Connection,
    events: &[i64],
    destination: Option<&str>,
    pending: bool,
) -> Result<usize, Error> {
    let mut statement = tx.prepare_cached(
        "UPDATE inbox_deliveries SET state = 'discarded'
         WHERE event = ?1 AND (state = 'dead' OR ?3 AND state = 'pending')
             AND (?2 IS NULL OR destination = ?2)",
    )?;
    let mut count = 0;
    for event in events {
        count += statement.execute((event, destination, pending))?;
    }
    Ok(count)
}

/// Whether anything was ever for this destination.
pub(in super::super) fn remembered(sql: &Connection, destination: &str) -> Result<bool, Error> {
    let mut statement = sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM inbox_deliveries
             WHERE destination = ?1 AND state IN ('pending', 'dead'))",
    )?;
    Ok(statement.query_row([destination], |row| row.get(0))?)
}

/// The destinations that something is pending for.
pub(in super::super) fn awaited(sql: &Connection) -> Result<BTreeSet<String>, Error> {
    let mut statement =
        sql.prepare_cached("SELECT DISTINCT destination FROM inbox_deliveries WHERE state = 'pending'")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// What is pending for these destinations is dead: there is nobody to take it. How many deliveries.
pub(in super::super) fn bury(tx: &Connection, destinations: &[String]) -> Result<usize, Error> {
    let mut statement = tx.prepare_cached(
        "UPDATE inbox_deliveries SET state = 'dead' WHERE destination = ?1 AND state = 'pending'",
    )?;
    let mut count = 0;
    for destination in destinations {
        count += statement.execute([destination])?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn an_event_that_was_forgotten_meanwhile_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db"), super::super::MIGRATIONS).unwrap();
        let made = store.write(|tx| again(tx, &[7], None, "replay", &Setup::default(), 0)).await.unwrap();
        assert_eq!(made, (Vec::new(), 0));
    }
}
