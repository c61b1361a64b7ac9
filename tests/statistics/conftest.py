from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.apply import Ledger
from flashstock.ledger.queries import Queries
from flashstock.statistics.folder import Folder
from flashstock.statistics.queries import Statistics
from tests.contract.ledger.written_log import ORDER_SECRET, Book, Log
from tests.databases import Clock, clock, engine, migrated_postgres_url, migrated_sqlite_file

__all__ = ["clock", "engine", "migrated_postgres_url", "migrated_sqlite_file"]


@pytest.fixture
async def book(engine: AsyncEngine, clock: Clock) -> Book:
    """Shard 0, opened, with a log to write."""
    ledger = Ledger(engine, ORDER_SECRET, clock)
    return Book(engine, ledger, Queries(engine, clock), Log(), await ledger.create_cursor(0))


async def no_pause(_: float) -> None:
    """Nobody else needs the event loop here."""


@pytest.fixture
def folder(engine: AsyncEngine) -> Folder:
    return Folder(engine, sleep=no_pause)


@pytest.fixture
def statistics(engine: AsyncEngine) -> Statistics:
    return Statistics(engine)
