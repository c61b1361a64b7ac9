"""Bring a database to the newest schema. Safe to call from every process at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, create_engine, is_sqlite, writing

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The directory that Alembic reads."""
_ADVISORY_LOCK: Final = 7_306_084_117_221_630_825
"""An arbitrary number that nobody else locks."""


async def upgrade(url: str) -> None:
    """Run every migration that the database lacks, all or nothing.

    Concurrent callers wait for one another (an advisory lock on PostgreSQL, the write lock of
    the file on SQLite); whoever comes later finds nothing to do.

    Raises:
        LedgerUnavailable: the database did not answer; nothing changed.
        ConfigurationError: the URL can't be used.
    """
    engine = create_engine(url)
    try:
        async with writing(engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            if not is_sqlite(engine):
                await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
