"""Group-buys: their rules, the groups, the index of their seats, and what statistics count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0011"
down_revision = "0010"

_COUNTS = ("groups_opened", "groups_formed", "groups_failed", "refunded_count", "refunded_units")
_IS_SEAT = sa.text("substr(cart, 1, 2) = 'g:'")
_UNSETTLED = sa.text("state = 'open' OR pending > 0 OR (state = 'failed' AND paid > 0)")


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for table in ("pools", "campaign_items"):
        column = sa.Column("group_buy", sa.Text(), nullable=False, server_default=sa.text("''"))
        op.add_column(table, column)
    for name in _COUNTS:
        count = sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        op.add_column("statistics_minutes", count)
    op.create_index(
        "ix_reservations_seats",
        "reservations",
        ["cart", "id"],
        postgresql_where=_IS_SEAT,
        sqlite_where=_IS_SEAT,
    )
    _create_groups()


def _create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("opener", _identifier(), nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("paid", sa.Integer, nullable=False),
        sa.Column("house", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settled_at_ms", sa.BigInteger),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.CheckConstraint("pending >= 0", name="pending_not_negative"),
        sa.CheckConstraint("paid >= 0", name="paid_not_negative"),
        sa.CheckConstraint("pending + paid <= size", name="not_overfull"),
        sa.CheckConstraint("state <> 'formed' OR paid + house = size", name="formed_is_full"),
    )
    op.create_index("ix_groups_pool", "groups", ["pool", "state", "deadline_ms", "id"])
    op.create_index("ix_groups_updated_at_ms", "groups", ["shard", "updated_at_ms", "id"])
    op.create_index(
        "ix_groups_unsettled",
        "groups",
        ["shard", "id"],
        postgresql_where=_UNSETTLED,
        sqlite_where=_UNSETTLED,
    )
