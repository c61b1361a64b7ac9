from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.notices.webhooks import Webhooks
from tests.databases import Clock, clock, engine, migrated_postgres_url, migrated_sqlite_file
from tests.notices.receiver import Receiver

__all__ = ["clock", "engine", "migrated_postgres_url", "migrated_sqlite_file"]


@pytest.fixture
def webhooks(engine: AsyncEngine, clock: Clock) -> Webhooks:
    return Webhooks(engine, clock, private_allowed=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as started:
        yield started
