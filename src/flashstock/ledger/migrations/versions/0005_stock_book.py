"""The stock book: SKUs, locations, balances, movements, documents, and what joins it to pools."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0005"
down_revision = "0004"

_BALANCES: Final = (
    "on_hand",
    "available",
    "committed",
    "unsellable",
    "locked",
    "campaign",
    "outgoing",
    "reserved",
    "bought_out",
    "virtual",
    "in_transit",
)
_APPEND_ONLY: Final = ("stock_commands", "stock_movements")
_REFUSAL: Final = "movements are append-only: post a counter-movement"


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_master()
    _create_book()
    _create_pool_joints()
    _create_purchases()
    _create_transfers()
    _create_counts()
    if op.get_bind().dialect.name == "sqlite":
        _refuse_changes_in_sqlite()
    else:
        _refuse_changes_in_postgresql()


def _create_master() -> None:
    op.create_table(
        "skus",
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("spu", _identifier(), nullable=False, server_default=""),
        sa.Column("title", sa.Text, nullable=False, server_default=""),
        sa.Column("price_minor", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("currency", sa.String(3), nullable=False, server_default=""),
        sa.Column("safety_stock", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("lead_time_days", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sku", name="pk_skus"),
    )
    op.create_index("ix_skus_spu", "skus", ["spu", "sku"])
    op.create_table(
        "locations",
        sa.Column("code", _identifier(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_locations"),
    )
    op.create_table(
        "location_regions",
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("region", _identifier(), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("location", "region", name="pk_location_regions"),
        sa.CheckConstraint("level >= 1", name=op.f("ck_location_regions_level_positive")),
    )
    op.create_index("ix_location_regions_region", "location_regions", ["region", "level"])


def _create_book() -> None:
    op.create_table(
        "stock_balances",
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
            for name in _BALANCES
        ),
        sa.Column("virtual_allowance", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("changed_seq", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("sku", "location", name="pk_stock_balances"),
        *(
            sa.CheckConstraint(f"{name} >= 0", name=op.f(f"ck_stock_balances_{name}_not_negative"))
            for name in _BALANCES
        ),
        sa.CheckConstraint(
            "available + committed + unsellable + locked + campaign + outgoing + reserved"
            " + bought_out = on_hand + virtual",
            name=op.f("ck_stock_balances_adds_up"),
        ),
        sa.CheckConstraint(
            "virtual <= virtual_allowance",
            name=op.f("ck_stock_balances_virtual_within_allowance"),
        ),
    )
    op.create_index("ix_stock_balances_changed_seq", "stock_balances", ["changed_seq"])
    op.create_index("ix_stock_balances_location", "stock_balances", ["location", "sku"])
    op.create_table(
        "stock_commands",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_stock_commands"),
        sa.UniqueConstraint("id", name="uq_stock_commands_id"),
    )
    op.create_index("ix_stock_commands_kind", "stock_commands", ["kind", "number"])
    op.create_index("ix_stock_commands_reference", "stock_commands", ["reference", "number"])
    op.create_table(
        "stock_movements",
        sa.Column("number", _row_number(), nullable=False),
        sa.Column("command", sa.BigInteger, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_stock_movements"),
        sa.CheckConstraint("source <> target", name=op.f("ck_stock_movements_moves")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_stock_movements_quantity_positive")),
    )
    op.create_index("ix_stock_movements_command", "stock_movements", ["command"])
    op.create_index("ix_stock_movements_location", "stock_movements", ["location", "command"])
    op.create_index("ix_stock_movements_sku", "stock_movements", ["sku", "command"])
    op.create_table(
        "stock_flows",
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("location", "source", "target", name="pk_stock_flows"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_stock_flows_quantity_positive")),
    )


def _create_pool_joints() -> None:
    op.create_table(
        "allocations",
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("per_unit", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("shipped", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("pool", "sku", "location", name="pk_allocations"),
        sa.CheckConstraint("per_unit > 0", name=op.f("ck_allocations_per_unit_positive")),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_allocations_quantity_not_negative")),
        sa.CheckConstraint("shipped >= 0", name=op.f("ck_allocations_shipped_not_negative")),
    )
    op.create_index("ix_allocations_sku", "allocations", ["sku", "location"])
    op.create_table(
        "pool_commands",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("pool", _identifier(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("actor", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pool_commands"),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_pool_commands_open",
        "pool_commands",
        ["created_at_ms", "id"],
        postgresql_where=pending,
        sqlite_where=pending,
    )
    op.create_index("ix_pool_commands_pool", "pool_commands", ["pool", "created_at_ms"])


def _create_purchases() -> None:
    op.create_table(
        "purchases",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("supplier", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("expected_at_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_purchases"),
        sa.UniqueConstraint("command_id", name="uq_purchases_command_id"),
    )
    op.create_index("ix_purchases_state", "purchases", ["state", "id"])
    op.create_table(
        "purchase_lines",
        sa.Column("purchase", sa.BigInteger, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("damaged", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("cancelled", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("purchase", "sku", name="pk_purchase_lines"),
        sa.CheckConstraint(
            "received >= 0 AND damaged >= 0 AND cancelled >= 0"
            " AND received + damaged + cancelled <= quantity",
            name=op.f("ck_purchase_lines_within_quantity"),
        ),
    )
    op.create_index("ix_purchase_lines_sku", "purchase_lines", ["sku", "purchase"])


def _create_transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("source", _identifier(), nullable=False),
        sa.Column("destination", _identifier(), nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_transfers"),
        sa.CheckConstraint("source <> destination", name=op.f("ck_transfers_moves")),
        sa.UniqueConstraint("command_id", name="uq_transfers_command_id"),
    )
    op.create_index("ix_transfers_state", "transfers", ["state", "id"])
    op.create_table(
        "transfer_lines",
        sa.Column("transfer", sa.BigInteger, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("dispatched", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("cancelled", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("received", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("damaged", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("lost", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("transfer", "sku", name="pk_transfer_lines"),
        sa.CheckConstraint(
            "received >= 0 AND damaged >= 0 AND lost >= 0"
            " AND received + damaged + lost <= dispatched",
            name=op.f("ck_transfer_lines_within_dispatched"),
        ),
        sa.CheckConstraint(
            "dispatched >= 0 AND cancelled >= 0 AND dispatched + cancelled <= quantity",
            name=op.f("ck_transfer_lines_within_quantity"),
        ),
    )


def _create_counts() -> None:
    op.create_table(
        "stocktakes",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("counted_by", sa.Text, nullable=False),
        sa.Column("counted_at_ms", sa.BigInteger, nullable=False),
        sa.Column("counted_seq", sa.BigInteger, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False, server_default=""),
        sa.Column("decided_at_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_stocktakes"),
        sa.UniqueConstraint("command_id", name="uq_stocktakes_command_id"),
    )
    op.create_index("ix_stocktakes_state", "stocktakes", ["state", "id"])
    op.create_table(
        "stocktake_counts",
        sa.Column("stocktake", sa.BigInteger, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("expected", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stocktake", "sku", name="pk_stocktake_counts"),
        sa.CheckConstraint(
            "counted >= 0",
            name=op.f("ck_stocktake_counts_counted_not_negative"),
        ),
    )
    op.create_table(
        "lots",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("sku", _identifier(), nullable=False),
        sa.Column("location", _identifier(), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("guaranteed_until_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("released", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("release_command", sa.Text, nullable=False, server_default=""),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lots"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_lots_quantity_positive")),
        sa.CheckConstraint(
            "released >= 0 AND released <= quantity",
            name=op.f("ck_lots_released_within_quantity"),
        ),
        sa.UniqueConstraint("command_id", name="uq_lots_command_id"),
    )
    op.create_index("ix_lots_guaranteed_until", "lots", ["state", "guaranteed_until_ms", "id"])
    op.create_index("ix_lots_sku", "lots", ["sku", "location"])


def _refuse_changes_in_sqlite() -> None:
    for table in _APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )


def _refuse_changes_in_postgresql() -> None:
    """With the SQLSTATE of a broken constraint, which nobody retries."""
    op.execute(
        "CREATE FUNCTION flashstock_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION flashstock_append_only()"
        )
