//! What is kept, for people: lists, one event's whole story, what came since, what is left to do.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::store::Error;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Delivered,
    /// Out of attempts; kept until a person sends it again or discards it.
    Dead,
    /// Given up by a person.
    Discarded,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }

    fn read(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "delivered" => Self::Delivered,
            "discarded" => Self::Discarded,
            // The table's constraint leaves no other word.
            _ => Self::Dead,
        }
    }
}

/// An event as it is listed. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub number: i64,
    pub endpoint: String,
    pub id: String,
    pub kind: String,
    pub thin: bool,
    pub livemode: Option<bool>,
    pub account: Option<String>,
    pub object: Option<String>,
    pub created: Option<i64>,
    pub received: i64,
    /// How often it came again.
    pub repeats: u32,
    pub simulated: bool,
    pub deliveries: Vec<Delivery>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub number: i64,
    pub destination: String,
    pub state: State,
    pub attempts: u32,
    /// Of a pending one: when it may be attempted next. Of another: when it came to its end.
    pub due: i64,
}

/// An event with everything that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    #[serde(flatten)]
    pub event: Event,
    pub attempts: Vec<Attempt>,
    pub client: Option<String>,
    pub signature: String,
    pub content_type: String,
    pub body: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub number: i64,
    pub delivery: i64,
    pub destination: String,
    /// The event's id.
    pub event: String,
    pub at: i64,
    /// Milliseconds.
    pub took: i64,
    pub url: String,
    pub status: Option<u16>,
    /// Why there is no status.
    pub trouble: Option<String>,
    /// The beginning of the answer.
    pub answer: String,
}

/// Something that happened, in the order in which it was written down.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "seen", rename_all = "lowercase")]
pub enum Seen {
    Event(Event),
    Attempt(Attempt),
}

/// What is left to do for a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub destination: String,
    pub pending: u32,
    /// When the oldest event that is pending was received.
    pub oldest: Option<i64>,
    pub dead: u32,
}

const EVENT: &str =
    "SELECT number, endpoint, id, kind, thin, livemode, account, object, created, received, repeats,
    simulated FROM inbox_events e";

fn event(row: &Row) -> rusqlite::Result<Event> {
    Ok(Event {
        number: row.get(0)?,
        endpoint: row.get(1)?,
        id: row.get(2)?,
        kind: row.get(3)?,
        thin: row.get(4)?,
        livemode: row.get(5)?,
        account: row.get(6)?,
        object: row.get(7)?,
        created: row.get(8)?,
        received: row.get(9)?,
        repeats: row.get(10)?,
        simulated: row.get(11)?,
        deliveries: Vec::new(),
    })
}

fn deliveries(sql: &Connection, event: i64) -> Result<Vec<Delivery>, Error> {
    let mut statement = sql.prepare_cached(
        "SELECT number, destination, state, attempts, due FROM inbox_deliveries WHERE event = ?1 ORDER BY destination",
    )?;
    let rows = statement.query_map([event], |row| {
        Ok(Delivery {
            number: row.get(0)?,
            destination: row.get(1)?,
            state: State::read(row.get_ref(2)?.as_str()?),
            attempts: row.get(3)?,
            due: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn with_deliveries(sql: &Connection, mut event: Event) -> Result<Event, Error> {
    event.deliveries = deliveries(sql, event.number)?;
    Ok(event)
}

pub(in super::super) fn events(sql: &Connection, filter: &Filter) -> Result<Vec<Event>, Error> {
    let (conditions, values) = filter.conditions();
    let limit = filter.limit;
    let mut statement =
        sql.prepare(&format!("{EVENT} WHERE {conditions} ORDER BY number DESC LIMIT {limit}"))?;
    let found = statement.query_map(params_from_iter(values), event)?.collect::<Result<Vec<_>, _>>()?;
    found.into_iter().map(|event| with_deliveries(sql, event)).collect()
}

/// The story of the event with this id; of several endpoints' the newest, unless one is named.
pub(in super::super) fn story(
    sql: &Connection,
    id: &str,
    endpoint: Option<&str>,
) -> Result<Option<Story>, Error> {
    let mut statement = sql.prepare_cached(&format!(
        "{EVENT} WHERE id = ?1 AND (?2 IS NULL OR endpoint = ?2) ORDER BY number DESC LIMIT 1"
    ))?;
    let Some(event) = statement.query_row((id, endpoint), event).optional()? else { return Ok(None) };
    let event = with_deliveries(sql, event)?;
    let mut statement = sql.prepare_cached(&format!("{ATTEMPT} WHERE e.number = ?1 ORDER BY a.number"))?;
    let attempts = statement.query_map([event.number], attempt)?.collect::<Result<_, _>>()?;
    let mut statement = sql
        .prepare_cached("SELECT client, signature, content_type, body FROM inbox_events WHERE number = ?1")?;
    let (client, signature, content_type, body): (_, _, _, Vec<u8>) = statement
        .query_row([event.number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Story { event, attempts, client, signature, content_type, body }))
}

const ATTEMPT: &str = "SELECT a.number, a.delivery, d.destination, e.id, a.at, a.took, a.url, a.status, a.trouble, a.answer
    FROM inbox_attempts a JOIN inbox_deliveries d ON d.number = a.delivery JOIN inbox_events e ON e.number = d.event";

fn attempt(row: &Row) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        number: row.get(0)?,
        delivery: row.get(1)?,
        destination: row.get(2)?,
        event: row.get(3)?,
        at: row.get(4)?,
        took: row.get(5)?,
        url: row.get(6)?,
        status: row.get(7)?,
        trouble: row.get(8)?,
        answer: String::from_utf8_lossy(row.get_ref(9)?.as_blob()?).into_owned(),
    })
}

/// The newest numbers: where [`since`] begins for somebody who wants only what is to come.
pub(in super::super) fn ends(sql: &Connection) -> Result<(i64, i64), Error> {
    let statement = "SELECT (SELECT coalesce(max(number), 0) FROM inbox_events),
        (SELECT coalesce(max(number), 0) FROM inbox_attempts)";
    Ok(sql.prepare_cached(statement)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// What happened after these numbers of an event and of an attempt, in order of time.
pub(in super::super) fn since(sql: &Connection, events: i64, attempts: i64) -> Result<Vec<Seen>, Error> {
    const AT_ONCE: usize = 1000;
    let mut statement =
        sql.prepare_cached(&format!("{EVENT} WHERE number > ?1 ORDER BY number LIMIT {AT_ONCE}"))?;
    let mut seen: Vec<Seen> =
        statement.query_map([events], |row| event(row).map(Seen::Event))?.collect::<Result<_, _>>()?;
    let mut statement =
        sql.prepare_cached(&format!("{ATTEMPT} WHERE a.number > ?1 ORDER BY a.number LIMIT {AT_ONCE}"))?;
    let rows = statement.query_map([attempts], |row| attempt(row).map(Seen::Attempt))?;
    for row in rows {
        seen.push(row?);
    }
    seen.sort_by_key(|seen| match seen {
        Seen::Event(event) => event.received,
        Seen::Attempt(attempt) => attempt.at + attempt.took,
    });
    Ok(seen)
}

/// What is left to do, for every destination that has something left.
pub(in super::super) fn counts(sql: &Connection) -> Result<Vec<Backlog>, Error> {
    let mut statement = sql.prepare_cached(
        "SELECT destination, pending, dead, (SELECT received FROM inbox_events WHERE number = first) FROM (
             SELECT destination, sum(pending) AS pending, sum(dead) AS dead, max(first) AS first FROM (
                 SELECT destination, count(*) AS pending, 0 AS dead, min(event) AS first
                 FROM inbox_deliveries WHERE state = 'pending' GROUP BY destination
                 UNION ALL
                 SELECT destination, 0, count(*), NULL
                 FROM inbox_deliveries WHERE state = 'dead' GROUP BY destination)
             GROUP BY destination)
         ORDER BY destination",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Backlog { destination: row.get(0)?, pending: row.get(1)?, dead: row.get(2)?, oldest: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
