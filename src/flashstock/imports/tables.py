"""What was imported: the same key and the same file give the same answer, and import once."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from flashstock.ledger.tables import metadata

imports: Final = Table(
    "imports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("payload_digest", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_imports_at_ms", "at_ms"),
)
"""Written in the transaction of what the file changed."""
