"""One suite, three implementations: Valkey, Redis where there is one, and the reference."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.reference.asking import Store
from tests.reference.subjects import Subject, in_memory, on_server


@pytest.fixture(params=["valkey", "redis", "reference"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """An empty shard whose clock stands at ``START_MS``."""
    if request.param == "reference":
        async with in_memory() as shard:
            yield shard
        return
    fixture = {"valkey": "valkey_url", "redis": "redis_server_url"}[request.param]
    async with on_server(request.getfixturevalue(fixture)) as server:
        yield server


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
