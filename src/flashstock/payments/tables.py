"""What gateways say, line by line, and where it differs from what we say."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from flashstock.ledger.tables import identifier, metadata, row_number

payment_statements: Final = Table(
    "payment_statements",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("gateway", Text, nullable=False),
    Column("day", String(10), nullable=False),
    Column("digest", Text, nullable=False),
    Column("result", Text, nullable=False, server_default=""),
    Column("superseded_by", BigInteger),
    Column("uploaded_by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("gateway", "day", "digest"),
)
"""The newest of a gateway and day counts; ``superseded_by`` is the one that replaced this one."""

payment_lines: Final = Table(
    "payment_lines",
    metadata,
    Column("statement", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("payment_ref", identifier(), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("statement", "line"),
    Index("ix_payment_lines_payment_ref", "payment_ref", "kind"),
)
"""Only what succeeded."""

payment_cases: Final = Table(
    "payment_cases",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("statement", BigInteger, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("day", String(10), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("code", String(32), nullable=False),
    Column("payment_ref", identifier(), nullable=False),
    Column("line", Integer),
    Column("order_no", Text),
    Column("reservation", Text),
    Column("refund", BigInteger),
    Column("amount_here_minor", BigInteger),
    Column("currency_here", String(3)),
    Column("amount_there_minor", BigInteger),
    Column("currency_there", String(3)),
    Column("remedy", String(32), nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("resolved_at_ms", BigInteger),
    Column("resolved_by", Text),
    Column("note", Text),
    UniqueConstraint("gateway", "kind", "code", "payment_ref"),
    Index("ix_payment_cases_payment_ref", "payment_ref"),
)
"""One row for each disagreement, however often it is found again."""
