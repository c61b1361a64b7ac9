"""The tables of the stock book, and of what joins it to the pools.

Balances can't go negative and always add up: the CHECKs say so for each row. Movements are only
ever inserted; triggers of the migration refuse everything else.
"""

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
from flashstock.model.stock import COUNTED, ON_HAND, PHYSICAL

BALANCE_COLUMNS: Final = (ON_HAND, *(state.value for state in COUNTED))

skus: Final = Table(
    "skus",
    metadata,
    Column("sku", identifier(), primary_key=True),
    Column("spu", identifier(), nullable=False, server_default=""),
    Column("title", Text, nullable=False, server_default=""),
    Column("price_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("currency", String(3), nullable=False, server_default=""),
    Column("safety_stock", BigInteger, nullable=False, server_default=text("0")),
    Column("lead_time_days", Integer, nullable=False, server_default=text("0")),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Index("ix_skus_spu", "spu", "sku"),
)

locations: Final = Table(
    "locations",
    metadata,
    Column("code", identifier(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)

location_regions: Final = Table(
    "location_regions",
    metadata,
    Column("location", identifier(), primary_key=True),
    Column("region", identifier(), primary_key=True),
    Column("level", Integer, nullable=False),
    CheckConstraint("level >= 1", name="level_positive"),
    Index("ix_location_regions_region", "region", "level"),
)

stock_balances: Final = Table(
    "stock_balances",
    metadata,
    Column("sku", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in BALANCE_COLUMNS
    ),
    Column("virtual_allowance", BigInteger, nullable=False, server_default=text("0")),
    Column("changed_seq", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("sku", "location"),
    *(CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative") for name in BALANCE_COLUMNS),
    CheckConstraint(
        f"{' + '.join(state.value for state in PHYSICAL)} = {ON_HAND} + virtual", name="adds_up"
    ),
    CheckConstraint("virtual <= virtual_allowance", name="virtual_within_allowance"),
    Index("ix_stock_balances_location", "location", "sku"),
    Index("ix_stock_balances_changed_seq", "changed_seq"),
)

stock_commands: Final = Table(
    "stock_commands",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("id"),
    Index("ix_stock_commands_reference", "reference", "number"),
)

stock_movements: Final = Table(
    "stock_movements",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("command", BigInteger, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    Column("source", String(16), nullable=False),
    Column("target", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("source <> target", name="moves"),
    Index("ix_stock_movements_sku", "sku", "number"),
    Index("ix_stock_movements_command", "command"),
)

allocations: Final = Table(
    "allocations",
    metadata,
    Column("pool", identifier(), nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    Column("per_unit", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("shipped", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("pool", "sku", "location"),
    CheckConstraint("per_unit > 0", name="per_unit_positive"),
    CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    CheckConstraint("shipped >= 0", name="shipped_not_negative"),
    Index("ix_allocations_sku", "sku", "location"),
)
"""What stands in ``campaign`` for which pool. ``quantity`` counts units of the SKU that are still
there, ``shipped`` those that left as sales; one unit of the pool takes ``per_unit`` of them."""

pool_commands: Final = Table(
    "pool_commands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pool", identifier(), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("payload", Text, nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("problem", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Index(
        "ix_pool_commands_open",
        "created_at_ms",
        "id",
        postgresql_where=text("state = 'pending'"),
        sqlite_where=text("state = 'pending'"),
    ),
    Index("ix_pool_commands_pool", "pool", "created_at_ms"),
)
"""The outbox between the book and the pools: into a pool, the book moved first; out of a pool, it
moves when the event has come back."""
