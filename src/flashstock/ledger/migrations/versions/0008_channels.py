"""Channels, their shares, and where orders are sent from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0008"
down_revision = "0007"


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_channels()
    _create_publication()
    _create_channel_orders()
    _create_dispatch()
    _create_shipments()
    _create_returns()
    op.add_column("orders", sa.Column("finished_at_ms", sa.BigInteger))
    op.create_index("ix_orders_confirmed_at_ms", "orders", ["confirmed_at_ms", "order_no"])
    op.create_index("ix_orders_buyer", "orders", ["buyer", "confirmed_at_ms", "order_no"])
    op.create_index(
        "ix_orders_unfinished",
        "orders",
        ["confirmed_at_ms", "order_no"],
        postgresql_where=sa.text("finished_at_ms IS NULL"),
        sqlite_where=sa.text("finished_at_ms IS NULL"),
    )


def _create_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("weight", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.CheckConstraint("weight >= 0", name=op.f("ck_channels_weight_not_negative")),
    )
    op.create_table(
        "channel_locations",
        sa.Column("channel", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "location", name="pk_channel_locations"),
    )
    op.create_table(
        "channel_states",
        sa.Column("channel", _identifier(), nullable=False),
        sa.Column("foreign_state", _identifier(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("channel", "foreign_state", name="pk_channel_states"),
    )


def _create_publication() -> None:
    op.create_table(
        "publication_policies",
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("mode", sa.String(16)),
        sa.Column("low_water", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("low_water_channel", _identifier()),
        sa.Column("weights", sa.Text, nullable=False, server_default="{}"),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sku", name="pk_publication_policies"),
        sa.CheckConstraint(
            "low_water >= 0", name=op.f("ck_publication_policies_low_water_not_negative")
        ),
    )
    op.create_table(
        "publication_marks",
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("stock_seq", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sku", name="pk_publication_marks"),
    )
    op.create_index("ix_publication_marks_position", "publication_marks", ["stock_seq", "number"])


def _create_channel_orders() -> None:
    op.create_table(
        "channel_orders",
        sa.Column("channel", _identifier(), nullable=False),
        sa.Column("foreign_no", _identifier(), nullable=False),
        sa.Column("foreign_state", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stock", sa.String(16), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("channel", "foreign_no", name="pk_channel_orders"),
    )
    op.create_table(
        "channel_order_lines",
        sa.Column("channel", _identifier(), nullable=False),
        sa.Column("foreign_no", _identifier(), nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "channel", "foreign_no", "sku", "location", name="pk_channel_order_lines"
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_channel_order_lines_quantity_positive")),
    )
    op.create_table(
        "channel_order_events",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("channel", _identifier(), nullable=False),
        sa.Column("foreign_no", _identifier(), nullable=False),
        sa.Column("foreign_state", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_channel_order_events"),
        sa.UniqueConstraint("command_id", name="uq_channel_order_events_command_id"),
    )
    order = ["channel", "foreign_no", "number"]
    op.create_index("ix_channel_order_events_order", "channel_order_events", order)


def _create_dispatch() -> None:
    op.create_table(
        "order_dispatch",
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("shipped", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("returned", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("withdrawn", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("through_pool", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("audited_at_ms", sa.BigInteger),
        sa.Column("audited_by", sa.Text),
        sa.Column("shipped_at_ms", sa.BigInteger),
        sa.Column("completed_at_ms", sa.BigInteger),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("order_no", name="pk_order_dispatch"),
        sa.CheckConstraint("shipped >= 0", name=op.f("ck_order_dispatch_shipped_not_negative")),
        sa.CheckConstraint(
            "returned >= 0 AND returned <= shipped",
            name=op.f("ck_order_dispatch_returned_within_shipped"),
        ),
        sa.CheckConstraint("withdrawn >= 0", name=op.f("ck_order_dispatch_withdrawn_not_negative")),
        sa.CheckConstraint(
            "through_pool >= 0 AND through_pool <= returned + withdrawn",
            name=op.f("ck_order_dispatch_through_pool_is_part_of_it"),
        ),
    )
    op.create_table(
        "order_commands",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_order_commands"),
    )
    op.create_index("ix_order_commands_order", "order_commands", ["order_no", "at_ms"])


def _create_shipments() -> None:
    op.create_table(
        "order_shipments",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("carrier", sa.Text, nullable=False, server_default=""),
        sa.Column("tracking", sa.Text, nullable=False, server_default=""),
        sa.Column("shipped_at_ms", sa.BigInteger, nullable=False),
        sa.Column("shipped_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_order_shipments"),
    )
    op.create_index("ix_order_shipments_command", "order_shipments", ["command_id", "number"])
    op.create_index("ix_order_shipments_order", "order_shipments", ["order_no", "number"])
    op.create_table(
        "order_shipment_lines",
        sa.Column("shipment", sa.BigInteger, nullable=False),
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shipment", "order_no", "sku", name="pk_order_shipment_lines"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_shipment_lines_quantity_positive")),
    )
    lines = ["order_no", "shipment"]
    op.create_index("ix_order_shipment_lines_order", "order_shipment_lines", lines)


def _create_returns() -> None:
    op.create_table(
        "order_returns",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("reservation_id", _identifier(), nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("location", _identifier(), nullable=False, server_default=""),
        sa.Column("disposition", sa.String(16), nullable=False, server_default=""),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("through_pool", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("after_seq", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_order_returns"),
        sa.UniqueConstraint("command_id", name="uq_order_returns_command_id"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_returns_quantity_positive")),
    )
    op.create_index("ix_order_returns_order", "order_returns", ["order_no", "number"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_order_returns_pending",
        "order_returns",
        ["number"],
        postgresql_where=pending,
        sqlite_where=pending,
    )
