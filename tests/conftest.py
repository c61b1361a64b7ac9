"""Fixtures that every layer of the suite shares.

Servers start when the first test of a process asks for one and serve the rest of its session;
what a test finds in them is always empty. A test that stops, kills or freezes a server takes one
of its own from ``tests.servers``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import URL, make_url

from flashstock.ledger import engine as ledger_engine
from tests import servers

settings.register_profile(
    "flashstock",
    deadline=None,  # a slow machine is not a failure
    print_blob=True,  # so that a failure can be replayed anywhere
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("flashstock")

# What a shell runs in the background ignores Ctrl-C, and every process started from there would,
# too: the ones under test are to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the developer's shell sets must not leak into the code under test; the one exception names
# a PostgreSQL to use instead of the wheel's, and is for the fixtures alone.
_configured = {
    name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FLASHSTOCK_")
}


@pytest.fixture(scope="session", autouse=True)
def patient_ledger() -> Iterator[None]:
    """PostgreSQL, asked from this process, has more time than in production: on a machine that does
    much else it may need it, and that would be no failure.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_engine, "CONNECT_TIMEOUT_MS", 20_000)
        patch.setattr(ledger_engine, "OPERATION_TIMEOUT_MS", 20_000)
        yield


@pytest.fixture(scope="session")
def valkey_process() -> Iterator[servers.HotServer]:
    with servers.hot_server(servers.valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_process() -> Iterator[servers.HotServer]:
    binary = servers.redis_binary()
    if binary is None:
        pytest.skip("no redis-server on this machine")
    with servers.hot_server(binary) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    configured = _configured.get("FLASHSTOCK_DATABASE_URL", "")
    if configured.startswith("postgresql"):
        yield make_url(configured)
        return
    with servers.postgres_server() as url:
        yield url


@pytest.fixture
def valkey_url(valkey_process: servers.HotServer) -> str:
    """An empty Valkey."""
    valkey_process.clear()
    return valkey_process.url


@pytest.fixture
def redis_server_url(redis_process: servers.HotServer) -> str:
    """An empty Redis, or a skip where there is none."""
    redis_process.clear()
    return redis_process.url


@pytest.fixture(params=["valkey", "redis"])
def hot_server(request: pytest.FixtureRequest) -> str:
    """The URL of an empty server: Valkey, then Redis where there is one."""
    fixture = {"valkey": "valkey_url", "redis": "redis_server_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with servers.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: SQLite, then PostgreSQL."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url
