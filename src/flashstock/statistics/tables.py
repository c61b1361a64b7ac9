"""The tables of statistics. All but the refusals can be thrown away and folded again."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, String, Table, text

from flashstock.ledger.tables import identifier, metadata

COUNTS: Final = (
    "held_count",
    "held_units",
    "paid_count",
    "paid_units",
    "paid_late_count",
    "expired_count",
    "expired_units",
    "cancelled_count",
    "cancelled_units",
    "revoked_count",
    "revoked_units",
    "returned_units",
    "refund_due_count",
    "refund_due_units",
    "total_delta",
    "held_delta",
    "sold_delta",
    "locked_delta",
    "lives_count",
    "lives_ms",
    "groups_opened",
    "groups_formed",
    "groups_failed",
    "refunded_count",
    "refunded_units",
)
"""What is added up for each pool and minute. ``*_delta`` is what the minute did to the pool's own
counters; ``lives_ms`` is how long the holds lasted that ended in the minute."""

statistics_cursors: Final = Table(
    "statistics_cursors",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""Up to which event the journal of a shard is folded: it moves in the transaction of the sums."""

statistics_minutes: Final = Table(
    "statistics_minutes",
    metadata,
    Column("pool", identifier(), nullable=False),
    Column("minute_ms", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in COUNTS),
    PrimaryKeyConstraint("pool", "minute_ms"),
    Index("ix_statistics_minutes_minute_ms", "minute_ms", "pool"),
)

statistics_lives: Final = Table(
    "statistics_lives",
    metadata,
    Column("pool", identifier(), nullable=False),
    Column("minute_ms", BigInteger, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("holds", BigInteger, nullable=False),
    PrimaryKeyConstraint("pool", "minute_ms", "bucket"),
)
"""A histogram of how long holds lasted; ``lives.bucket_of`` says which bucket is which."""

statistics_refusals: Final = Table(
    "statistics_refusals",
    metadata,
    Column("pool", identifier(), nullable=False),
    Column("minute_ms", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("requests", BigInteger, nullable=False),
    PrimaryKeyConstraint("pool", "minute_ms", "reason"),
)
"""What API processes counted. A refusal writes nothing, so this is best effort: a process that is
killed takes what it had not written yet with it."""
