"""A book with goods set aside for pools, and orders that wait to be sent; on either database."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.dispatch.yard import Yard
from tests.stockbook.conftest import (  # noqa: F401 (fixtures)
    book_postgres_url,
    book_sqlite_file,
    book_url,
    engine,
)


@pytest.fixture
async def yard(engine: AsyncEngine) -> Yard:  # noqa: F811 (a fixture)
    """Locations ``east`` (first) and ``west`` (second); nothing in them."""
    made = Yard(engine)
    await made.furnish()
    return made
