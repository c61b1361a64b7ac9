"""Alembic's entry point: runs inside the transaction that ``flashstock.ledger.migrate`` opened."""

from __future__ import annotations

from alembic import context

from flashstock.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
