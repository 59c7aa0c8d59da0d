//! The three nouns as tables, and every statement about them.

mod attempts;
mod due;
mod filter;
mod keep;
mod list;
mod resend;
mod retention;
mod secrets;

use crate::store::Migration;

pub(super) use attempts::{Ending, Next, finish};
pub(super) use due::{Parcel, due, freshen, parcel};
pub use filter::Filter;
pub(super) use keep::{Incoming, claim, keep};
pub use list::{Attempt, Backlog, Delivery, Event, Seen, State, Story};
pub(super) use list::{counts, ends, events, since, story};
pub use resend::Which;
pub(super) use resend::{again, awaited, bury, discard, meant, remembered, revive};
pub(super) use retention::{forget, size};
pub(super) use secrets::{first, rotate, secrets};

/// The tables of this room, in order of their making.
pub const MIGRATIONS: &[Migration] = &[Migration(
    "CREATE TABLE inbox_events (
        number INTEGER PRIMARY KEY,
        endpoint TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        thin INTEGER NOT NULL,
        livemode INTEGER,
        account TEXT,
        object TEXT,
        created INTEGER, -- times are milliseconds since the Unix epoch
        received INTEGER NOT NULL,
        repeats INTEGER NOT NULL DEFAULT 0,
        -- whether a destination has wanted it
        claimed INTEGER NOT NULL,
        simulated INTEGER NOT NULL,
        client TEXT,
        content_type TEXT NOT NULL,
        signature TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (id, endpoint)
    ) STRICT;
    CREATE INDEX inbox_unclaimed ON inbox_events (number) WHERE claimed = 0;
    CREATE TABLE inbox_deliveries (
        number INTEGER PRIMARY KEY,
        event INTEGER NOT NULL REFERENCES inbox_events (number) ON DELETE CASCADE,
        destination TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
        -- why the next attempt is made, until it is a retry
        cause TEXT NOT NULL,
        -- the place in the schedule, and all attempts ever made
        step INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        due INTEGER NOT NULL,
        -- what it is about, where later ones about the same have to wait for this one
        lane TEXT,
        UNIQUE (event, destination)
    ) STRICT;
    CREATE INDEX inbox_pending ON inbox_deliveries (destination, due, number) WHERE state = 'pending';
    CREATE INDEX inbox_dead ON inbox_deliveries (destination, number) WHERE state = 'dead';
    CREATE INDEX inbox_lanes ON inbox_deliveries (destination, lane, number)
        WHERE state = 'pending' AND lane IS NOT NULL;
    CREATE TABLE inbox_attempts (
        number INTEGER PRIMARY KEY,
        delivery INTEGER NOT NULL REFERENCES inbox_deliveries (number) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        took INTEGER NOT NULL,
        url TEXT NOT NULL,
        status INTEGER,
        -- why there is no status
        trouble TEXT,
        answer BLOB NOT NULL
    ) STRICT;
    CREATE INDEX inbox_attempts_of ON inbox_attempts (delivery);
    CREATE TABLE inbox_secrets (
        destination TEXT NOT NULL,
        secret TEXT NOT NULL,
        made INTEGER NOT NULL,
        retired INTEGER,
        PRIMARY KEY (destination, secret)
    ) STRICT;",
)];
