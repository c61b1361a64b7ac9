"""One suite, three implementations: Valkey, Redis where there is one, and the reference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.reference.asking import Store
from tests.reference.group_asking import groups_in_memory
from tests.reference.group_subjects import GroupsInMemory
from tests.reference.subjects import OnServer, Subject, in_memory, on_server

URLS: Final = {"valkey": "valkey_url", "redis": "redis_server_url"}
"""Servers, and the fixtures that start them."""


@pytest.fixture(params=[*URLS, "reference"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """An empty shard whose clock stands at ``START_MS``."""
    if request.param == "reference":
        async with in_memory() as shard:
            yield shard
        return
    async with on_server(request.getfixturevalue(URLS[request.param])) as server:
        yield server


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store


@pytest.fixture(params=[*URLS, "reference"])
async def group_subject(
    request: pytest.FixtureRequest,
) -> AsyncIterator[OnServer | GroupsInMemory]:
    """As ``subject``, with groups."""
    if request.param == "reference":
        async with groups_in_memory() as shard:
            yield shard
        return
    async with on_server(request.getfixturevalue(URLS[request.param])) as server:
        yield server


@pytest.fixture
async def valkey_shard(valkey_url: str) -> AsyncIterator[OnServer]:
    """An open shard on Valkey, for what only a server can show."""
    async with on_server(valkey_url) as server:
        yield server
