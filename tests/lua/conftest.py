"""A shard on a real server, for what only a real server can show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.reference.subjects import OnServer, on_server

pytest.register_assert_rewrite("tests.reference.invariants")


@pytest.fixture
async def shard(hot_server: str) -> AsyncIterator[OnServer]:
    """An empty shard on Valkey, then on Redis where there is one; its clock at ``START_MS``."""
    async with on_server(hot_server) as server:
        yield server
