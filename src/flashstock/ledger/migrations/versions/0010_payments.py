"""Imports, payment statements and their mismatches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0010"
down_revision = "0009"


def _identifier() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _row_number() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_index("ix_imports_at_ms", "imports", ["at_ms"])
    _create_statements()
    _create_cases()


def _create_statements() -> None:
    op.create_table(
        "payment_statements",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False, server_default=""),
        sa.Column("superseded_by", sa.BigInteger),
        sa.Column("uploaded_by", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_payment_statements"),
        sa.UniqueConstraint(
            "gateway", "day", "digest", name="uq_payment_statements_gateway_day_digest"
        ),
    )
    op.create_table(
        "payment_lines",
        sa.Column("statement", sa.BigInteger, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("payment_ref", _identifier(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("statement", "line", name="pk_payment_lines"),
    )
    op.create_index("ix_payment_lines_payment_ref", "payment_lines", ["payment_ref", "kind"])


def _create_cases() -> None:
    op.create_table(
        "payment_cases",
        sa.Column("id", _row_number(), nullable=False),
        sa.Column("statement", sa.BigInteger, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("payment_ref", _identifier(), nullable=False),
        sa.Column("line", sa.Integer),
        sa.Column("order_no", sa.Text),
        sa.Column("reservation", sa.Text),
        sa.Column("refund", sa.BigInteger),
        sa.Column("amount_here_minor", sa.BigInteger),
        sa.Column("currency_here", sa.String(3)),
        sa.Column("amount_there_minor", sa.BigInteger),
        sa.Column("currency_there", sa.String(3)),
        sa.Column("remedy", sa.String(32), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("resolved_at_ms", sa.BigInteger),
        sa.Column("resolved_by", sa.Text),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_payment_cases"),
        sa.UniqueConstraint(
            "gateway",
            "kind",
            "code",
            "payment_ref",
            name="uq_payment_cases_gateway_kind_code_payment_ref",
        ),
    )
    op.create_index("ix_payment_cases_payment_ref", "payment_cases", ["payment_ref"])
