"""Several reads of one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import is_sqlite, reading, writing


@asynccontextmanager
async def snapshot(
    engine: AsyncEngine, timeout_ms: int | None = None
) -> AsyncIterator[AsyncConnection]:
    """A connection on which all statements see the same moment. It must not write.

    Raises:
        LedgerUnavailable: the database did not answer in time.
    """
    if is_sqlite(engine):
        # A transaction that was begun for reading sees what its first statement saw.
        async with reading(engine, timeout_ms) as connection:
            yield connection
        return
    frozen = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    async with writing(frozen, timeout_ms) as connection:
        yield connection
