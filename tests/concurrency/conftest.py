"""A shard that many clients reach at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.concurrency import racers
from tests.reference.subjects import OnServer, on_server

pytest.register_assert_rewrite("tests.reference.invariants")

RACES = {
    "tasks": racers.race_as_tasks,
    "threads": racers.race_as_threads,
    "processes": racers.race_as_processes,
}


@pytest.fixture
async def shard(valkey_url: str) -> AsyncIterator[OnServer]:
    """An empty shard whose clock stands at ``START_MS``."""
    async with on_server(valkey_url) as server:
        yield server


@pytest.fixture(params=RACES)
def race(request, valkey_url, shard):
    """Runs racers side by side: as tasks, then as threads, then as processes."""

    async def run(*told):
        return await RACES[request.param](valkey_url, told)

    return run
