"""The tables of the ledger. What must never be false is a CHECK, named for what it promises.

Identifiers of pools and reservations compare byte by byte (collation ``C``; SQLite's default):
paging follows the same order everywhere, and all reservations of a pool are neighbours in the
primary key. There are no foreign keys: the writer proves every row it touches by row counts,
which costs nothing, and a trigger per hold would not.
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
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from flashstock.model.rules import NO_DEADLINE_MS

EARLY_MS: Final = 3_600_000
ENDED_EARLY: Final = f"state <> 'held' AND deadline_ms > updated_at_ms + {EARLY_MS}"
IS_SEAT: Final = "substr(cart, 1, 2) = 'g:'"
"""A seat of a group (``model/group_records.py``). Queries say it in these very words, else the
planners don't see that the index of seats has every row."""
MAY_RUN_OUT: Final = f"state = 'held' AND deadline_ms < {NO_DEADLINE_MS} AND NOT {IS_SEAT}"
"""A hold that ends by its own deadline: seats end with their group, which ends when everybody was
told, and some holds last until somebody ends them."""
UNSETTLED: Final = "state = 'open' OR pending > 0 OR (state = 'failed' AND paid > 0)"
"""A group that still has seats to be paid, ended or refunded."""

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def identifier() -> TypeEngine[str]:
    """Text that compares byte by byte."""
    return Text().with_variant(Text(collation="C"), "postgresql")


def row_number() -> TypeEngine[int]:
    """A 64-bit key that the database counts up; SQLite counts only its own INTEGER."""
    return BigInteger().with_variant(Integer, "sqlite")


settings: Final = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

cursors: Final = Table(
    "cursors",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("log_id", Text, nullable=False),
    Column("opened_generation", BigInteger, nullable=False),
    Column("recovery_owner", Text),
    Column("recovery_until_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("alive_at_ms", BigInteger, nullable=False, server_default=text("0")),
)
"""``alive_at_ms``: when the shard is last known to have worked, by the clock of its server; 0 where
nobody has looked yet. It never goes back."""

pools: Final = Table(
    "pools",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("sku", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("sold", BigInteger, nullable=False),
    Column("locked", BigInteger, nullable=False),
    Column("oversell_allowance", BigInteger, nullable=False, server_default=text("0")),
    Column("per_buyer_limit", BigInteger, nullable=False),
    Column("hold_ms", BigInteger, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("durability", String(16), nullable=False),
    Column("waves", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("audience", Text, nullable=False, server_default=text("''")),
    Column("channels", Text, nullable=False, server_default=text("''")),
    Column("deduct", String(16), nullable=False, server_default=text("'hold'")),
    Column("group_buy", Text, nullable=False, server_default=text("''")),
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("sold >= 0", name="sold_not_negative"),
    CheckConstraint("locked >= 0", name="locked_not_negative"),
    CheckConstraint("held + sold + locked <= total + oversell_allowance", name="not_oversold"),
    Index("ix_pools_shard", "shard", "id"),
)

reservations: Final = Table(
    "reservations",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("buyer", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("cart", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("payment_ref", Text),
    Column("order_index", BigInteger, nullable=False),
    Column("order_no", Text),
    Column("returned", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("returned >= 0 AND returned <= quantity", name="returned_within_quantity"),
    CheckConstraint(
        "state <> 'returned' OR returned = quantity", name="returned_state_is_complete"
    ),
    # A hold pays for one index besides its key, and that one grows at its end only: an index of
    # holds by id would touch a page per row, which halves what SQLite can take.
    Index(
        "ix_reservations_held",
        "shard",
        "seq",
        "id",
        postgresql_where=text("state = 'held'"),
        sqlite_where=text("state = 'held'"),
    ),
    Index(
        "ix_reservations_ended",
        "shard",
        "updated_at_ms",
        "id",
        postgresql_where=text("state <> 'held'"),
        sqlite_where=text("state <> 'held'"),
    ),
    # Long holds that ended early: Redis remembers them until long after their end. Ordinary holds
    # are never in it, so they don't pay for it.
    Index(
        "ix_reservations_ended_early",
        "shard",
        "deadline_ms",
        "id",
        postgresql_where=text(ENDED_EARLY),
        sqlite_where=text(ENDED_EARLY),
    ),
    Index(
        "ix_reservations_order_index",
        "shard",
        "order_index",
        postgresql_where=text("order_index > 0"),
        sqlite_where=text("order_index > 0"),
    ),
    Index(
        "ix_reservations_seats",
        "cart",
        "id",
        postgresql_where=text(IS_SEAT),
        sqlite_where=text(IS_SEAT),
    ),
)

groups: Final = Table(
    "groups",
    metadata,
    Column("id", identifier(), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("rules", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", Integer, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("opener", identifier(), nullable=False),
    Column("pending", Integer, nullable=False),
    Column("paid", Integer, nullable=False),
    Column("house", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("settled_at_ms", BigInteger),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    CheckConstraint("pending >= 0", name="pending_not_negative"),
    CheckConstraint("paid >= 0", name="paid_not_negative"),
    CheckConstraint("pending + paid <= size", name="not_overfull"),
    # So a paid seat more, or one less, of a formed group is refused too.
    CheckConstraint("state <> 'formed' OR paid + house = size", name="formed_is_full"),
    Index("ix_groups_pool", "pool", "state", "deadline_ms", "id"),
    Index("ix_groups_updated_at_ms", "shard", "updated_at_ms", "id"),
    Index(
        "ix_groups_unsettled",
        "shard",
        "id",
        postgresql_where=text(UNSETTLED),
        sqlite_where=text(UNSETTLED),
    ),
)
"""``pending`` counts seats that are held or ordered, ``paid`` those paid, confirmed or returned;
``opener`` is a reservation, the last one where nobody is left; ``settled_at_ms`` is when it formed
or failed, ``updated_at_ms`` when it last changed, its seats included."""

journal: Final = Table(
    "journal",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Index(
        "ix_journal_commands",
        "shard",
        "seq",
        postgresql_where=text("kind IN ('adjusted', 'returned')"),
        sqlite_where=text("kind IN ('adjusted', 'returned')"),
    ),
)

orders: Final = Table(
    "orders",
    metadata,
    Column("order_no", Text, primary_key=True),
    Column("reservation_id", identifier(), nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("buyer", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("payment_ref", Text, nullable=False),
    Column("confirmed_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    UniqueConstraint("reservation_id"),
    UniqueConstraint("payment_ref"),
    Index("ix_orders_confirmed_at_ms", "confirmed_at_ms", "order_no"),
    Index("ix_orders_buyer", "buyer", "confirmed_at_ms", "order_no"),
    Index(
        "ix_orders_unfinished",
        "confirmed_at_ms",
        "order_no",
        postgresql_where=text("finished_at_ms IS NULL"),
        sqlite_where=text("finished_at_ms IS NULL"),
    ),
)
"""``finished_at_ms``: nothing of it is left to be sent; ``dispatch`` sets it. What is to be packed
is thereby found at once, however many orders there ever were."""

refunds: Final = Table(
    "refunds",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("reservation_id", identifier(), nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("buyer", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("payment_ref", Text, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("settled_at_ms", BigInteger),
    Column("settled_by", Text),
    Column("settled_reference", Text),
    UniqueConstraint("payment_ref"),
)

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("pool_paused", Boolean, nullable=False),
    Column("resolved_at_ms", BigInteger),
    Column("reused_reservation_id", identifier()),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    UniqueConstraint("key_hash"),
)
