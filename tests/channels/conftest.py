"""Many shops and one stock, on either database."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.channels.mall import Mall
from tests.databases import engine, migrated_postgres_url, migrated_sqlite_file  # noqa: F401


@pytest.fixture
async def mall(engine: AsyncEngine) -> Mall:  # noqa: F811 (a fixture)
    """Locations ``east`` and ``west``; SKUs ``cap`` and ``mug``; no shop, nothing in stock."""
    made = Mall(engine)
    await made.furnish()
    return made
