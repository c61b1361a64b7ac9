"""A migrated, empty database of each kind, with two locations and a few SKUs."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.channels.mall import Mall
from tests.stockbook.conftest import (  # noqa: F401 (fixtures)
    book_postgres_url,
    book_sqlite_file,
    book_url,
    engine,
)


@pytest.fixture
async def mall(engine: AsyncEngine) -> Mall:  # noqa: F811 (a fixture)
    """Locations ``east`` and ``west``; SKUs ``cap`` and ``mug``; no shop, nothing in stock."""
    made = Mall(engine)
    await made.furnish()
    return made
