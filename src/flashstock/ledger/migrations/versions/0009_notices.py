"""Notices: the outbox of webhooks, its deliveries, warnings, and statistics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0009"
down_revision = "0008"


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


_COUNTS = (
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
)


def upgrade() -> None:
    _create_endpoints()
    _create_outbox()
    _create_statistics()
    op.create_table(
        "warnings",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", _identifier(), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("raised_at_ms", sa.BigInteger, nullable=False),
        sa.Column("cleared_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_warnings"),
        sa.UniqueConstraint("kind", "subject", name="uq_warnings_kind_subject"),
    )


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("topics", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        sa.Column("previous_until_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text, nullable=False, server_default=""),
        sa.Column("courier", sa.Text, nullable=False, server_default=""),
        sa.Column("courier_until_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )


def _create_outbox() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_webhook_events"),
        sa.UniqueConstraint("id", name="uq_webhook_events_id"),
    )
    op.create_index("ix_webhook_events_at_ms", "webhook_events", ["at_ms"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("event", sa.BigInteger, nullable=False),
        sa.Column("endpoint", _identifier(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("tries_left", sa.Integer, nullable=False),
        sa.Column("next_try_at_ms", sa.BigInteger, nullable=False),
        sa.Column("holds_back", sa.Boolean, nullable=False),
        sa.Column("status_code", sa.Integer),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("tried_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_webhook_deliveries"),
        sa.CheckConstraint(
            "tries_left >= 0", name=op.f("ck_webhook_deliveries_tries_left_not_negative")
        ),
    )
    op.create_index("ix_webhook_deliveries_event", "webhook_deliveries", ["event"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["endpoint", "number"],
        postgresql_where=pending,
        sqlite_where=pending,
    )


def _create_statistics() -> None:
    op.create_table(
        "statistics_cursors",
        sa.Column("shard", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", name="pk_statistics_cursors"),
    )
    op.create_table(
        "statistics_minutes",
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("minute_ms", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
            for name in _COUNTS
        ),
        sa.PrimaryKeyConstraint("pool", "minute_ms", name="pk_statistics_minutes"),
    )
    op.create_index("ix_statistics_minutes_minute_ms", "statistics_minutes", ["minute_ms", "pool"])
    op.create_table(
        "statistics_lives",
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("minute_ms", sa.BigInteger, nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("holds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("pool", "minute_ms", "bucket", name="pk_statistics_lives"),
    )
    op.create_table(
        "statistics_refusals",
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("minute_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("pool", "minute_ms", "reason", name="pk_statistics_refusals"),
    )
