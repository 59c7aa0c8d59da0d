"""Payment events in SQLite. Knows nothing of HTTP or signatures.

Two instances write here at once while a roll is under way: WAL mode and a busy timeout make that
safe on one host, and the schema may only grow.
"""

import sqlite3
from datetime import datetime, timezone

from flask import current_app, g

SCHEMA = """
CREATE TABLE IF NOT EXISTS payment_event (
    id          TEXT PRIMARY KEY,   -- Stripe's event id: a repeated delivery is the same row
    type        TEXT NOT NULL,
    amount      INTEGER,            -- in the currency's smallest unit, as Stripe counts
    currency    TEXT,
    reference   TEXT,
    received_at TEXT NOT NULL       -- UTC, ISO 8601
);
CREATE INDEX IF NOT EXISTS payment_event_received ON payment_event (received_at);
"""

# Each kind of object names the sum that was paid in its own way; the first one there counts.
AMOUNT_FIELDS = ("amount_total", "amount_paid", "amount_received", "amount")

# Currencies without a smaller unit, from Stripe's list.
WHOLE_CURRENCIES = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split()
)


def connect(path):
    connection = sqlite3.connect(path, timeout=5)
    connection.row_factory = sqlite3.Row
    return connection


def create_schema(path):
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    connection.close()


def database():
    if "database" not in g:
        g.database = connect(current_app.config["DATABASE"])
    return g.database


def close(_error=None):
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


def record(event):
    """Keeps the event; false when it was there already. On disk when this returns."""
    subject = event.get("data", {}).get("object", {})
    amount = next((subject[f] for f in AMOUNT_FIELDS if isinstance(subject.get(f), int)), None)
    # Which fields there are depends on the type of the event; what is no text is left out.
    currency, reference = (
        subject[f] if isinstance(subject.get(f), str) else None
        for f in ("currency", "client_reference_id")
    )
    row = (
        event["id"],
        event["type"],
        amount,
        currency,
        reference,
        datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    )
    with database() as connection:
        done = connection.execute(
            "INSERT INTO payment_event VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", row
        )
    return done.rowcount == 1


def latest(limit):
    rows = database().execute(
        "SELECT * FROM payment_event ORDER BY received_at DESC, id LIMIT ?", (limit,)
    )
    return [dict(row) for row in rows]


def count():
    return database().execute("SELECT count(*) FROM payment_event").fetchone()[0]


def format_amount(payment):
    if payment["amount"] is None:
        return "–"
    currency = payment["currency"] or ""
    if currency in WHOLE_CURRENCIES:
        return f"{payment['amount']} {currency.upper()}"
    return f"{payment['amount'] / 100:.2f} {currency.upper()}".strip()
