"""Sets of servers, on Valkey always and on Redis where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.failover.valkeys import BehindSentinels, Cluster, running


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> Path:
    found = servers.valkey_binary() if request.param == "valkey" else servers.redis_binary()
    if found is None:
        pytest.skip("no redis-server on this machine")
    return found


@pytest.fixture
def sentinels(binary: Path) -> Iterator[BehindSentinels]:
    with running(BehindSentinels, binary) as many:
        yield many


@pytest.fixture
def cluster(binary: Path) -> Iterator[Cluster]:
    with running(Cluster, binary) as many:
        yield many
