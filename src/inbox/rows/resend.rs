//! Sending again what a person names, and giving up what a person gives up.

use rusqlite::{Connection, params_from_iter};
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
/// want them. With `only_dead`, nothing but what is dead. Which destinations have something to do, and how many
/// deliveries in all.
pub(in super::super) fn again(
    tx: &Connection,
    events: &[i64],
    destination: Option<&str>,
    only_dead: bool,
    cause: &str,
    setup: &Setup,
    now: i64,
) -> Result<(Vec<String>, usize), Error> {
    let mut event = tx.prepare_cached("SELECT endpoint, kind, object FROM inbox_events WHERE number = ?1")?;
    let state = if only_dead { " WHERE state = 'dead'" } else { "" };
    let mut make = tx.prepare_cached(&format!(
        "INSERT INTO inbox_deliveries (event, destination, state, cause, due, lane)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5)
         ON CONFLICT (event, destination) DO UPDATE SET state = 'pending', cause = ?3, step = 0, due = ?4{state}"
    ))?;
    let (mut woken, mut count) = (Vec::new(), 0);
    for number in events {
        let (endpoint, kind, object): (String, String, Option<String>) =
            event.query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let meant = setup.destinations.iter().filter(|known| match destination {
            // Whom a person names need not have asked for it.
            Some(name) => known.name == name,
            None => known.wants(&endpoint, &kind),
        });
        for known in meant {
            let lane = object.as_deref().filter(|_| known.ordered);
            count += make.execute((number, &known.name, cause, now, lane))?;
            woken.push(known.name.clone());
        }
    }
    woken.sort_unstable();
    woken.dedup();
    Ok((woken, count))
}

/// Gives up what is dead of these events. How many deliveries.
pub(in super::super) fn discard(
    tx: &Connection,
    events: &[i64],
    destination: Option<&str>,
) -> Result<usize, Error> {
    let mut statement = tx.prepare_cached(
        "UPDATE inbox_deliveries SET state = 'discarded'
         WHERE event = ?1 AND state = 'dead' AND (?2 IS NULL OR destination = ?2)",
    )?;
    let mut count = 0;
    for event in events {
        count += statement.execute((event, destination))?;
    }
    Ok(count)
}
