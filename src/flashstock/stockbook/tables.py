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
    Index("ix_stock_commands_kind", "kind", "number"),
)
"""One row a movement, in the order of their commits."""

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
    Index("ix_stock_movements_sku", "sku", "command"),
    Index("ix_stock_movements_location", "location", "command"),
    Index("ix_stock_movements_command", "command"),
)
"""The postings of each movement."""

stock_flows: Final = Table(
    "stock_flows",
    metadata,
    Column("location", identifier(), nullable=False),
    Column("source", String(16), nullable=False),
    Column("target", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    PrimaryKeyConstraint("location", "source", "target"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
)
"""All postings of a location added up by where from and where to: the same units booked a second
time, in few rows, so that balances can be proved without reading every movement."""

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


purchases: Final = Table(
    "purchases",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("location", identifier(), nullable=False),
    Column("supplier", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("expected_at_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("command_id"),
    Index("ix_purchases_state", "state", "id"),
)

purchase_lines: Final = Table(
    "purchase_lines",
    metadata,
    Column("purchase", BigInteger, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False, server_default=text("0")),
    Column("damaged", BigInteger, nullable=False, server_default=text("0")),
    Column("cancelled", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("purchase", "sku"),
    CheckConstraint(
        "received >= 0 AND damaged >= 0 AND cancelled >= 0"
        " AND received + damaged + cancelled <= quantity",
        name="within_quantity",
    ),
    Index("ix_purchase_lines_sku", "sku", "purchase"),
)
"""What is still in transit: ``quantity - received - damaged - cancelled``."""

transfers: Final = Table(
    "transfers",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("source", identifier(), nullable=False),
    Column("destination", identifier(), nullable=False),
    Column("reference", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("command_id"),
    CheckConstraint("source <> destination", name="moves"),
    Index("ix_transfers_state", "state", "id"),
)

transfer_lines: Final = Table(
    "transfer_lines",
    metadata,
    Column("transfer", BigInteger, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("dispatched", BigInteger, nullable=False, server_default=text("0")),
    Column("cancelled", BigInteger, nullable=False, server_default=text("0")),
    Column("received", BigInteger, nullable=False, server_default=text("0")),
    Column("damaged", BigInteger, nullable=False, server_default=text("0")),
    Column("lost", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("transfer", "sku"),
    CheckConstraint(
        "dispatched >= 0 AND cancelled >= 0 AND dispatched + cancelled <= quantity",
        name="within_quantity",
    ),
    CheckConstraint(
        "received >= 0 AND damaged >= 0 AND lost >= 0 AND received + damaged + lost <= dispatched",
        name="within_dispatched",
    ),
)
"""Outgoing: ``quantity - dispatched - cancelled``; in transit: ``dispatched`` less what came."""

stocktakes: Final = Table(
    "stocktakes",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("location", identifier(), nullable=False),
    Column("reference", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("counted_by", Text, nullable=False),
    Column("counted_at_ms", BigInteger, nullable=False),
    Column("counted_seq", BigInteger, nullable=False),
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("decided_at_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("reason", Text, nullable=False, server_default=""),
    UniqueConstraint("command_id"),
    Index("ix_stocktakes_state", "state", "id"),
)
"""``counted_seq``: the last movement that the count knew of."""

stocktake_counts: Final = Table(
    "stocktake_counts",
    metadata,
    Column("stocktake", BigInteger, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("expected", BigInteger, nullable=False),
    Column("counted", BigInteger, nullable=False),
    PrimaryKeyConstraint("stocktake", "sku"),
    CheckConstraint("counted >= 0", name="counted_not_negative"),
)

lots: Final = Table(
    "lots",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("command_id", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("location", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("guaranteed_until_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("released", BigInteger, nullable=False, server_default=text("0")),
    Column("release_command", Text, nullable=False, server_default=""),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("command_id"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("released >= 0 AND released <= quantity", name="released_within_quantity"),
    Index("ix_lots_guaranteed_until", "state", "guaranteed_until_ms", "id"),
    Index("ix_lots_sku", "sku", "location"),
)
"""Units that are guaranteed until a moment. A lot moves nothing: it is a promise about stock."""
