"""The tables of dispatch: what left, what came back, and what state an order is in.

An order without a row here is paid, and nothing of it has left.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from flashstock.ledger.tables import identifier, metadata, row_number

order_dispatch: Final = Table(
    "order_dispatch",
    metadata,
    Column("order_no", Text, primary_key=True),
    Column("shipped", BigInteger, nullable=False, server_default=text("0")),
    Column("returned", BigInteger, nullable=False, server_default=text("0")),
    Column("withdrawn", BigInteger, nullable=False, server_default=text("0")),
    Column("through_pool", BigInteger, nullable=False, server_default=text("0")),
    Column("audited_at_ms", BigInteger),
    Column("audited_by", Text),
    Column("shipped_at_ms", BigInteger),
    Column("completed_at_ms", BigInteger),
    Column("updated_at_ms", BigInteger, nullable=False),
    CheckConstraint("shipped >= 0", name="shipped_not_negative"),
    CheckConstraint("returned >= 0 AND returned <= shipped", name="returned_within_shipped"),
    CheckConstraint("withdrawn >= 0", name="withdrawn_not_negative"),
    CheckConstraint(
        "through_pool >= 0 AND through_pool <= returned + withdrawn",
        name="through_pool_is_part_of_it",
    ),
)
"""All in units of the order. ``shipped`` counts what ever left, ``returned`` what of that came
back, ``withdrawn`` what was given back before it left; ``through_pool`` is how much of the two the
reservation counts as returned too. The state of an order follows from these, see ``orders``."""

order_shipments: Final = Table(
    "order_shipments",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("order_no", Text, nullable=False),
    Column("location", identifier(), nullable=False),
    Column("carrier", Text, nullable=False, server_default=""),
    Column("tracking", Text, nullable=False, server_default=""),
    Column("shipped_at_ms", BigInteger, nullable=False),
    Column("shipped_by", Text, nullable=False),
    Index("ix_order_shipments_command", "command_id", "number"),
    Index("ix_order_shipments_order", "order_no", "number"),
)
"""One row a parcel. Whatever else is in it (gifts, merged orders) is in its lines."""

order_shipment_lines: Final = Table(
    "order_shipment_lines",
    metadata,
    Column("shipment", BigInteger, nullable=False),
    Column("order_no", Text, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    PrimaryKeyConstraint("shipment", "order_no", "sku"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    Index("ix_order_shipment_lines_order", "order_no", "shipment"),
)

order_returns: Final = Table(
    "order_returns",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("order_no", Text, nullable=False),
    Column("reservation_id", identifier(), nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("location", identifier(), nullable=False, server_default=""),
    Column("disposition", String(16), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("problem", Text, nullable=False, server_default=""),
    Column("through_pool", Boolean, nullable=False, server_default=false()),
    Column("after_seq", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("command_id"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    Index("ix_order_returns_order", "order_no", "number"),
    Index(
        "ix_order_returns_pending",
        "number",
        postgresql_where=text("state = 'pending'"),
        sqlite_where=text("state = 'pending'"),
    ),
)
"""The protocol of a return: the row first, then the pool, then the goods. ``after_seq`` is a number
of the shard's log that the pool's event comes after; ``through_pool`` says that there was one. A
row that is done is also the note that the buyer's money is due back."""

order_commands: Final = Table(
    "order_commands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("payload_digest", Text, nullable=False),
    Column("order_no", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_order_commands_order", "order_no", "at_ms"),
)
"""What was done to which order, by whom; and what a repetition is known by."""
