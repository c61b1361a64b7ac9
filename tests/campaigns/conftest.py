"""A book with goods in it, a hot path, and a relay between them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from flashstock.ledger.migrate import upgrade
from tests import servers
from tests.campaigns.site import Site, emptied, sited


def _run(coroutine) -> None:
    """Whatever event loop the caller is in."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="session")
def campaigns_postgres_url(postgres_server: URL) -> Iterator[str]:
    with servers.fresh_database(postgres_server) as url:
        _run(upgrade(url))
        yield url


@pytest.fixture(scope="session")
def campaigns_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("campaigns") / "migrated.sqlite3"
    _run(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_book_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with every table and no row."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        shutil.copy(request.getfixturevalue("campaigns_sqlite_file"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("campaigns_postgres_url")
    _run(emptied(url))
    return url


@pytest.fixture
async def site(valkey_url: str, empty_book_url: str) -> AsyncIterator[Site]:
    async with sited(valkey_url, empty_book_url) as opened:
        yield opened
