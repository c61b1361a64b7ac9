"""A migrated, empty database of each kind, and a book to write into it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger import tables
from flashstock.ledger.apply import Ledger
from flashstock.ledger.engine import create_engine, writing
from flashstock.ledger.migrate import upgrade
from flashstock.ledger.queries import Queries
from tests import servers
from tests.contract.ledger.written_log import NOW_MS, ORDER_SECRET, Book, Log


def _migrate(url: str) -> None:
    """Whatever event loop the caller is in."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, upgrade(url)).result()


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_server: URL) -> Iterator[str]:
    """One for all tests: creating a database takes longer than most of them."""
    with servers.fresh_database(postgres_server) as url:
        _migrate(url)
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied."""
    path = tmp_path_factory.mktemp("ledger") / "migrated.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with every table and no row."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite_file"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgres_url")
    engine = create_engine(url)
    async with writing(engine) as connection:
        for table in tables.metadata.sorted_tables:
            await connection.execute(delete(table))
    await engine.dispose()
    return url


@pytest.fixture
async def engine(ledger_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_engine(ledger_url)
    yield made
    await made.dispose()


@pytest.fixture
async def ledger(engine: AsyncEngine) -> Ledger:
    return Ledger(engine, ORDER_SECRET, lambda: NOW_MS)


@pytest.fixture
async def queries(engine: AsyncEngine) -> Queries:
    return Queries(engine, lambda: NOW_MS)


@pytest.fixture
async def book(engine: AsyncEngine, ledger: Ledger, queries: Queries) -> Book:
    """Shard 0, opened."""
    return Book(engine, ledger, queries, Log(), await ledger.create_cursor(0))
