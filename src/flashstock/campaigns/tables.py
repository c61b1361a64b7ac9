"""The tables of campaigns. Revisions and their items are never changed once they are in force."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
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

campaigns: Final = Table(
    "campaigns",
    metadata,
    Column("code", identifier(), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("latest_revision", Integer, nullable=False),
    Column("live_revision", Integer, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("request_id"),
    Index("ix_campaigns_status", "status", "ends_at_ms"),
)

campaign_revisions: Final = Table(
    "campaign_revisions",
    metadata,
    Column("code", identifier(), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("channels", Text, nullable=False),
    Column("per_buyer_limit", BigInteger, nullable=False),
    Column("limit_across_items", Boolean, nullable=False),
    Column("audience", Text, nullable=False),
    Column("deduct", String(16), nullable=False),
    Column("hold_ms", BigInteger, nullable=False),
    Column("places", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("submitted_by", Text, nullable=False, server_default=""),
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("in_force_from_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("in_force_until_ms", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("code", "revision"),
    CheckConstraint("ends_at_ms > starts_at_ms", name="ends_after_its_start"),
    Index(
        "uq_campaign_revisions_in_force",
        "code",
        unique=True,
        postgresql_where=text("state = 'in_force'"),
        sqlite_where=text("state = 'in_force'"),
    ),
)

campaign_items: Final = Table(
    "campaign_items",
    metadata,
    Column("code", identifier(), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("item", Integer, nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("title", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False, server_default=text("0")),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("presale", Boolean, nullable=False),
    Column("deposit_minor", BigInteger, nullable=False),
    Column("waves", Text, nullable=False),
    Column("gifts", Text, nullable=False),
    Column("needs", Text, nullable=False),
    Column("group_buy", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("code", "revision", "item"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    Index("ix_campaign_items_pool", "pool", "revision"),
)
"""``quantity`` and everything else is what the revision says; ``added`` is what came on top while
it was in force."""

campaign_audit: Final = Table(
    "campaign_audit",
    metadata,
    Column("number", row_number(), primary_key=True),
    Column("code", identifier(), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_campaign_audit_code", "code", "number"),
)

bundles: Final = Table(
    "bundles",
    metadata,
    Column("sku", identifier(), primary_key=True),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

bundle_components: Final = Table(
    "bundle_components",
    metadata,
    Column("bundle", identifier(), nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    PrimaryKeyConstraint("bundle", "sku"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    Index("ix_bundle_components_sku", "sku"),
)

campaign_gifts: Final = Table(
    "campaign_gifts",
    metadata,
    Column("order_no", Text, primary_key=True),
    Column("code", identifier(), nullable=False),
    Column("item", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tier", Integer, nullable=False),
    Column("pool", identifier(), nullable=False),
    Column("sku", identifier(), nullable=False),
    Column("buyer", identifier(), nullable=False),
    Column("paid_seq", BigInteger, nullable=False),
    Column("gift_order_no", Text),
    Column("decided_at_ms", BigInteger, nullable=False),
    Index("ix_campaign_gifts_code", "code", "order_no"),
    Index(
        "ix_campaign_gifts_open",
        "paid_seq",
        postgresql_where=text("state IN ('deciding', 'held')"),
        sqlite_where=text("state IN ('deciding', 'held')"),
    ),
)
"""One row for each paid order of an item with gifts: which one it gets, or that none is left.
``paid_seq`` is the number of the payment's event: whoever paid first is served first."""

campaign_gift_cursors: Final = Table(
    "campaign_gift_cursors",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""Up to which event of a shard's journal the paid orders were looked at."""

campaign_balances: Final = Table(
    "campaign_balances",
    metadata,
    Column("order_no", Text, primary_key=True),
    Column("payment_ref", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("paid_at_ms", BigInteger, nullable=False),
    UniqueConstraint("payment_ref"),
)
"""The second payment of a presale order."""
