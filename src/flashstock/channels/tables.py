"""The tables of the channels: shops, what each may show, and what they sold by themselves."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from flashstock.ledger.tables import identifier, metadata, row_number

channels: Final = Table(
    "channels",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("weight", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    CheckConstraint("weight >= 0", name="weight_not_negative"),
)

channel_locations: Final = Table(
    "channel_locations",
    metadata,
    Column("channel", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    PrimaryKeyConstraint("channel", "location"),
)
"""The only locations a shop sells from; a shop without a row sells from all."""

channel_states: Final = Table(
    "channel_states",
    metadata,
    Column("channel", identifier(), nullable=False),
    Column("foreign_state", identifier(), nullable=False),
    Column("state", String(16), nullable=False),
    PrimaryKeyConstraint("channel", "foreign_state"),
)

publication_policies: Final = Table(
    "publication_policies",
    metadata,
    Column("sku", identifier(), primary_key=True),
    Column("mode", String(16)),
    Column("low_water", BigInteger, nullable=False, server_default=text("0")),
    Column("low_water_channel", identifier()),
    Column("weights", Text, nullable=False, server_default="{}"),
    Column("updated_at_ms", BigInteger, nullable=False),
    CheckConstraint("low_water >= 0", name="low_water_not_negative"),
)
"""The row of the empty SKU is the company's own; the others replace it for their SKU."""

publication_marks: Final = Table(
    "publication_marks",
    metadata,
    Column("sku", identifier(), primary_key=True),
    Column("stock_seq", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_publication_marks_position", "stock_seq", "number"),
)
"""What is to be published again though no unit moved: after movement ``stock_seq``, before the
next one. ``number`` counts all marks. The row of the empty SKU stands for every SKU."""

channel_orders: Final = Table(
    "channel_orders",
    metadata,
    Column("channel", identifier(), nullable=False),
    Column("foreign_no", identifier(), nullable=False),
    Column("foreign_state", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stock", String(16), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "foreign_no"),
)
"""``stock`` says what the order did to the stock book so far, see ``outside_orders``."""

channel_order_lines: Final = Table(
    "channel_order_lines",
    metadata,
    Column("channel", identifier(), nullable=False),
    Column("foreign_no", identifier(), nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "foreign_no", "sku", "location"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
)
"""What was sold. The location is empty until units are taken somewhere."""

channel_order_events: Final = Table(
    "channel_order_events",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("channel", identifier(), nullable=False),
    Column("foreign_no", identifier(), nullable=False),
    Column("foreign_state", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("command_id"),
    Index("ix_channel_order_events_order", "channel", "foreign_no", "number"),
)
"""What a shop said of an order, and where the order stood then; also what a retry is known by."""
