"""The ledger: cursors, pools, reservations, journal, orders, refunds, quarantine, keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_shared()
    _create_pools()
    _create_reservations()
    _create_records()


def _create_shared() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "cursors",
        sa.Column("shard", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("opened_generation", sa.BigInteger, nullable=False),
        sa.Column("recovery_owner", sa.Text),
        sa.Column("recovery_until_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", name="pk_cursors"),
    )
    op.create_table(
        "api_keys",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )


def _create_pools() -> None:
    op.create_table(
        "pools",
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("sold", sa.BigInteger, nullable=False),
        sa.Column("locked", sa.BigInteger, nullable=False),
        sa.Column("oversell_allowance", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("per_buyer_limit", sa.BigInteger, nullable=False),
        sa.Column("hold_ms", sa.BigInteger, nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
        sa.Column("durability", sa.String(16), nullable=False),
        sa.Column("waves", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pools"),
        sa.CheckConstraint("held >= 0", name=op.f("ck_pools_held_not_negative")),
        sa.CheckConstraint("sold >= 0", name=op.f("ck_pools_sold_not_negative")),
        sa.CheckConstraint("locked >= 0", name=op.f("ck_pools_locked_not_negative")),
        sa.CheckConstraint(
            "held + sold + locked <= total + oversell_allowance",
            name=op.f("ck_pools_not_oversold"),
        ),
    )
    op.create_index("ix_pools_shard", "pools", ["shard", "id"])


def _create_reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("buyer", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("cart", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("payment_ref", sa.Text),
        sa.Column("order_index", sa.BigInteger, nullable=False),
        sa.Column("order_no", sa.Text),
        sa.Column("returned", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reservations"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_reservations_quantity_positive")),
        sa.CheckConstraint(
            "returned >= 0 AND returned <= quantity",
            name=op.f("ck_reservations_returned_within_quantity"),
        ),
        sa.CheckConstraint(
            "state <> 'returned' OR returned = quantity",
            name=op.f("ck_reservations_returned_state_is_complete"),
        ),
    )
    table = "reservations"
    _partial_index(table, "ix_reservations_held", ["shard", "seq", "id"], "state = 'held'")
    ended = ["shard", "updated_at_ms", "id"]
    _partial_index(table, "ix_reservations_ended", ended, "state <> 'held'")
    paid = ["shard", "order_index"]
    _partial_index(table, "ix_reservations_order_index", paid, "order_index > 0")


def _partial_index(table: str, name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def _create_records() -> None:
    op.create_table(
        "journal",
        sa.Column("shard", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("shard", "generation", "seq", name="pk_journal"),
    )
    commands = "kind IN ('adjusted', 'returned')"
    _partial_index("journal", "ix_journal_commands", ["shard", "seq"], commands)
    op.create_table(
        "orders",
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("reservation_id", _identifier(), nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("buyer", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("payment_ref", sa.Text, nullable=False),
        sa.Column("confirmed_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("order_no", name="pk_orders"),
        sa.UniqueConstraint("reservation_id", name="uq_orders_reservation_id"),
        sa.UniqueConstraint("payment_ref", name="uq_orders_payment_ref"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("reservation_id", _identifier(), nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("buyer", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("payment_ref", sa.Text, nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settled_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_refunds"),
        sa.UniqueConstraint("payment_ref", name="uq_refunds_payment_ref"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger, nullable=False),
        sa.Column("pool_paused", sa.Boolean, nullable=False),
        sa.Column("resolved_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
    )
