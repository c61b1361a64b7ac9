"""Databases with every table and no row, of each kind, for suites that don't make their own.

A suite's conftest imports the fixtures it wants by name.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import create_engine, writing
from flashstock.ledger.migrate import upgrade
from flashstock.ledger.tables import metadata
from tests import servers

NOW_MS = 1_795_000_000_000


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Every table, no row."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite_file"), path)
        made = create_engine(f"sqlite:///{path}")
    else:
        made = create_engine(request.getfixturevalue("migrated_postgres_url"))
        async with writing(made) as connection:
            await _empty(connection)
    yield made
    await made.dispose()


async def _empty(connection: AsyncConnection) -> None:
    """TRUNCATE, for what the database never forgets it refuses to delete; only what has rows, since
    it is slow.
    """
    names = [table.name for table in metadata.sorted_tables]
    asked = " UNION ALL ".join(
        f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in names
    )
    filled = list((await connection.execute(text(asked))).scalars())
    if filled:
        await connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY"))


def _migrate(url: str) -> None:
    """Whatever event loop the caller is in."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, upgrade(url)).result()
