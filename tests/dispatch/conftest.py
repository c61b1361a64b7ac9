"""A book with goods set aside for pools, and orders that wait to be sent; on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.campaigns.site import sited
from tests.databases import engine, migrated_postgres_url, migrated_sqlite_file  # noqa: F401
from tests.dispatch.counter import Counter
from tests.dispatch.yard import Yard, address_of


@pytest.fixture
async def yard(engine: AsyncEngine) -> Yard:  # noqa: F811 (a fixture)
    """Locations ``east`` (first) and ``west`` (second); nothing in them."""
    made = Yard(engine)
    await made.furnish()
    return made


@pytest.fixture
async def counter(valkey_url: str, engine: AsyncEngine) -> AsyncIterator[Counter]:  # noqa: F811
    """Ten units of ``sku`` at ``east`` in the pool ``sale``, on a hot path of its own."""
    async with sited(valkey_url, address_of(engine)) as site:
        made = Counter(site)
        await made.open()
        yield made
