"""Campaigns, their revisions, items and gifts, bundles, and balances of presale orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0006"
down_revision = "0005"


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_bundle_components()
    _create_bundles()
    _create_campaign_audit()
    _create_campaign_balances()
    _create_campaign_gift_cursors()
    _create_campaign_gifts()
    _create_campaign_items()
    _create_campaign_revisions()
    _create_campaigns()


def _create_bundle_components() -> None:
    op.create_table(
        "bundle_components",
        sa.Column("bundle", _identifier(), nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_bundle_components_quantity_positive")),
        sa.PrimaryKeyConstraint("bundle", "sku", name=op.f("pk_bundle_components")),
    )
    op.create_index("ix_bundle_components_sku", "bundle_components", ["sku"], unique=False)


def _create_bundles() -> None:
    op.create_table(
        "bundles",
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sku", name=op.f("pk_bundles")),
    )


def _create_campaign_audit() -> None:
    op.create_table(
        "campaign_audit",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_campaign_audit")),
    )
    op.create_index("ix_campaign_audit_code", "campaign_audit", ["code", "number"], unique=False)


def _create_campaign_balances() -> None:
    op.create_table(
        "campaign_balances",
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("payment_ref", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.Column("paid_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("order_no", name=op.f("pk_campaign_balances")),
        sa.UniqueConstraint("payment_ref", name=op.f("uq_campaign_balances_payment_ref")),
    )


def _create_campaign_gift_cursors() -> None:
    op.create_table(
        "campaign_gift_cursors",
        sa.Column("shard", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_campaign_gift_cursors")),
    )


def _create_campaign_gifts() -> None:
    op.create_table(
        "campaign_gifts",
        sa.Column("order_no", sa.Text, nullable=False),
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tier", sa.Integer, nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("buyer", _identifier(), nullable=False),
        sa.Column("paid_seq", sa.BigInteger, nullable=False),
        sa.Column("gift_order_no", sa.Text, nullable=True),
        sa.Column("decided_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("order_no", name=op.f("pk_campaign_gifts")),
    )
    op.create_index("ix_campaign_gifts_code", "campaign_gifts", ["code", "order_no"], unique=False)
    op.create_index(
        "ix_campaign_gifts_open",
        "campaign_gifts",
        ["paid_seq"],
        unique=False,
        postgresql_where=sa.text("state IN ('deciding', 'held')"),
        sqlite_where=sa.text("state IN ('deciding', 'held')"),
    )


def _create_campaign_items() -> None:
    op.create_table(
        "campaign_items",
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("added", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("price_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("presale", sa.Boolean, nullable=False),
        sa.Column("deposit_minor", sa.BigInteger, nullable=False),
        sa.Column("waves", sa.Text, nullable=False),
        sa.Column("gifts", sa.Text, nullable=False),
        sa.Column("needs", sa.Text, nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_campaign_items_quantity_positive")),
        sa.PrimaryKeyConstraint("code", "revision", "item", name=op.f("pk_campaign_items")),
    )
    op.create_index("ix_campaign_items_pool", "campaign_items", ["pool", "revision"], unique=False)


def _create_campaign_revisions() -> None:
    op.create_table(
        "campaign_revisions",
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
        sa.Column("channels", sa.Text, nullable=False),
        sa.Column("per_buyer_limit", sa.BigInteger, nullable=False),
        sa.Column("limit_across_items", sa.Boolean, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("deduct", sa.String(length=16), nullable=False),
        sa.Column("hold_ms", sa.BigInteger, nullable=False),
        sa.Column("places", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("submitted_by", sa.Text, server_default="", nullable=False),
        sa.Column("decided_by", sa.Text, server_default="", nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("in_force_from_ms", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("in_force_until_ms", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "ends_at_ms > starts_at_ms", name=op.f("ck_campaign_revisions_ends_after_its_start")
        ),
        sa.PrimaryKeyConstraint("code", "revision", name=op.f("pk_campaign_revisions")),
    )
    op.create_index(
        "uq_campaign_revisions_in_force",
        "campaign_revisions",
        ["code"],
        unique=True,
        postgresql_where=sa.text("state = 'in_force'"),
        sqlite_where=sa.text("state = 'in_force'"),
    )


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("latest_revision", sa.Integer, nullable=False),
        sa.Column("live_revision", sa.Integer, nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("request_id", name=op.f("uq_campaigns_request_id")),
    )
    op.create_index("ix_campaigns_status", "campaigns", ["status", "ends_at_ms"], unique=False)
