"""The tables of notices: who wants to hear, what is to be told, and what is wrong at present.

An event and its deliveries are written in the transaction of whatever they tell of (an outbox), so
nothing is told that did not happen, and nothing that happened is forgotten.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from flashstock.ledger.tables import identifier, metadata, row_number

IS_PENDING: Final = "state = 'pending'"
"""Written out, not bound: only then can the planners tell that the partial index has every row."""

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("url", Text, nullable=False),
    Column("topics", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text, nullable=False, server_default=""),
    Column("courier", Text, nullable=False, server_default=""),
    Column("courier_until_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)
"""``courier`` delivers to it until ``courier_until_ms``, and nobody else does: so one after the
other, in order."""

webhook_events: Final = Table(
    "webhook_events",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("id"),
    Index("ix_webhook_events_at_ms", "at_ms"),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("event", BigInteger, nullable=False),
    Column("endpoint", identifier(), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tries_left", Integer, nullable=False),
    Column("next_try_at_ms", BigInteger, nullable=False),
    Column("holds_back", Boolean, nullable=False),
    Column("status_code", Integer),
    Column("problem", Text, nullable=False, server_default=""),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("tried_at_ms", BigInteger),
    CheckConstraint("tries_left >= 0", name="tries_left_not_negative"),
    Index(
        "ix_webhook_deliveries_pending",
        "endpoint",
        "number",
        postgresql_where=text(IS_PENDING),
        sqlite_where=text(IS_PENDING),
    ),
    Index("ix_webhook_deliveries_event", "event"),
)
"""``holds_back``: what comes after it for the same endpoint waits for it."""

group_news_cursors: Final = Table(
    "group_news_cursors",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""The last event of each shard's journal that was looked at for news of groups."""

warnings: Final = Table(
    "warnings",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", identifier(), nullable=False),
    Column("detail", Text, nullable=False),
    Column("raised_at_ms", BigInteger, nullable=False),
    Column("cleared_at_ms", BigInteger),
    UniqueConstraint("kind", "subject"),
)
"""One row for each thing that is, or was, wrong with a subject."""
