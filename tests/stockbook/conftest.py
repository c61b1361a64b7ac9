"""A migrated, empty database of each kind, with a few SKUs and locations in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.bootstrap_stock import build_stock_services
from flashstock.ledger import tables
from flashstock.ledger.engine import create_engine, writing
from flashstock.ledger.migrate import upgrade
from tests import servers
from tests.stockbook.shelves import Shelves
from tests.stockbook.shop import Shop
from tests.unit.api.fakes import Fakes


def _migrate(url: str) -> None:
    """Whatever event loop the caller is in."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, upgrade(url)).result()


@pytest.fixture(scope="session")
def book_postgres_url(postgres_server: URL) -> Iterator[str]:
    with servers.fresh_database(postgres_server) as url:
        _migrate(url)
        yield url


@pytest.fixture(scope="session")
def book_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied."""
    path = tmp_path_factory.mktemp("book") / "migrated.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def book_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with every table and no row."""
    if request.param == "sqlite":
        path = tmp_path / "book.sqlite3"
        shutil.copy(request.getfixturevalue("book_sqlite_file"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("book_postgres_url")
    engine = create_engine(url)
    async with writing(engine) as connection:
        await empty(connection)
    await engine.dispose()
    return url


async def empty(connection) -> None:
    """TRUNCATE, since movements refuse to be deleted; only what has rows, since it is slow."""
    names = [table.name for table in tables.metadata.sorted_tables]
    known = set((await connection.execute(text("SELECT tablename FROM pg_tables"))).scalars())
    filled = [
        name
        for name in names
        if name in known
        and (await connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1"))).first()
    ]
    if filled:
        await connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY"))


@pytest.fixture
async def engine(book_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_engine(book_url)
    yield made
    await made.dispose()


@pytest.fixture
async def shelves(engine: AsyncEngine) -> Shelves:
    """SKUs ``cap`` and ``mug``, locations ``east`` and ``west``, nothing in stock."""
    made = Shelves(engine)
    await made.furnish()
    return made


@pytest.fixture
async def shop(engine: AsyncEngine, shelves: Shelves) -> AsyncIterator[Shop]:
    """The book over HTTP; proved at the end, down to every movement."""
    fakes = Fakes(stock=build_stock_services(engine, shelves.clock, lambda _: 0))
    await fakes.services.keyring.refresh(fakes.queries)
    made = Shop(fakes)
    yield made
    await made.proved()
    await fakes.services.stock_watch.stop()
