"""Everything that runs in a campaign: the service, its stores, and the wires between them.

``serve`` finds Valkey behind a wire, the crowd finds ``serve`` behind another; the campaign itself
talks to each directly. Valkey keeps its append-only file and syncs it with every command, so that
killing it loses nothing by itself.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from flashstock.client import Client
from flashstock.supervisor.child import RESTARTS_MAX, STABLE_SECONDS
from tests import servers
from tests.acceptance.processes import Service, environment
from tests.chaos.complaints import complaints
from tests.chaos.network import Wire, wire
from tests.recovery.postgres import OwnPostgres, own_postgres

ADMIN_KEY = "correct-horse-battery-staple"
WORKERS = 2
SQL_LOCK_PATIENCE_S = 2.0


class Site:
    """One long-lived service, as the faults see it."""

    def __init__(
        self,
        directory: Path,
        hot: servers.HotServer,
        postgres: OwnPostgres | None,
        database_url: str,
        store_wire: Wire,
    ) -> None:
        self.hot = hot
        self.postgres = postgres
        self.database_url = database_url
        self.store_wire = store_wire
        self.directory = directory
        self.port = servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "FLASHSTOCK_REDIS_URL": f"redis://127.0.0.1:{store_wire.port}",
            "FLASHSTOCK_DATABASE_URL": database_url,
            "FLASHSTOCK_ADMIN_KEY": ADMIN_KEY,
        }
        self.service: Service
        self.client_wire: Wire
        self.ops: Client
        self._ended: Counter[str] = Counter()

    async def start_service(self) -> None:
        """Start it on the port that it had before; return once it says that it is ready."""
        flags = ("--port", str(self.port), "--workers", str(WORKERS))
        self.service = Service(self.directory / "data", flags, self.settings)
        await asyncio.to_thread(self.service.wait_until_ready)

    def process(self, what: str, number: int = 0) -> psutil.Process | None:
        """A process of the service that runs now: ``writer`` or ``worker``."""
        try:
            running = self.service.running
            found = running["writer_pid"] if what == "writer" else running["worker_pids"][number]
            process = psutil.Process(found)
            return process if "flashstock" in process.cmdline() else None
        except (OSError, LookupError, TypeError, psutil.Error):
            return None  # it has just died, or is being replaced

    async def let_live(self, what: str) -> None:
        """Wait now and then: the supervisor rightly gives up a process that never gets old."""
        self._ended[what] += 1
        if self._ended[what] % RESTARTS_MAX == 0:
            await asyncio.sleep(STABLE_SECONDS)

    def complaints(self) -> str:
        """Errors and tracebacks of all its processes since the beginning, restarts included."""
        second = self.directory / "second-writer.log"
        log = self.service.log() + (second.read_text("utf-8") if second.exists() else "")
        return "\n".join(complaints(log))

    def start_writer(self) -> subprocess.Popen[bytes]:
        """One more writer on the same stores."""
        with (self.directory / "second-writer.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flashstock", "writer"],
                env=environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Redis]:
        """Valkey itself, past the wire."""
        async with Redis.from_url(self.hot.url, socket_timeout=5) as client:
            yield client

    def backends(self) -> list[psutil.Process]:
        """PostgreSQL's processes that serve the connections of the service."""
        assert self.postgres is not None
        name = make_url(self.database_url).database or ""
        found = []
        for process in self.postgres._family()[1:]:
            try:
                if any(name in part for part in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue  # its client has just left
        return found

    @asynccontextmanager
    async def sql_locked(self) -> AsyncIterator[None]:
        """Nobody else can commit to the ledger."""
        if self.postgres is None:
            path = make_url(self.database_url).database or ""
            connecting = sqlite3.connect(path, timeout=SQL_LOCK_PATIENCE_S, isolation_level=None)
            with closing(connecting) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                yield
                connection.execute("ROLLBACK")
            return
        url = make_url(self.database_url).set(drivername="postgresql")
        connected = await asyncpg.connect(
            url.render_as_string(hide_password=False), timeout=SQL_LOCK_PATIENCE_S
        )
        try:
            async with connected.transaction():
                await connected.execute("LOCK TABLE cursors IN ACCESS EXCLUSIVE MODE", timeout=2)
                yield
        finally:
            await connected.close(timeout=SQL_LOCK_PATIENCE_S)


@asynccontextmanager
async def running_site(database: str, *, keep: bool = False) -> AsyncIterator[Site]:
    """A service that is ready.

    Args:
        database: ``postgres`` or ``sqlite``.
        keep: leave the directory with the logs behind.
    """
    directory = Path(tempfile.mkdtemp(prefix="flashstock-chaos-"))
    async with AsyncExitStack() as stack:
        if not keep:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
        hot = stack.enter_context(servers.hot_server(servers.valkey_binary(), append_only=True))
        postgres, database_url = stack.enter_context(_sql(database, directory))
        store_wire = await stack.enter_async_context(
            wire(lambda: asyncio.open_unix_connection(urlsplit(hot.url).path))
        )
        site = Site(directory, hot, postgres, database_url, store_wire)

        def end() -> None:
            site.service.clean_up()  # the one that runs by then

        stack.callback(end)
        await site.start_service()
        site.client_wire = await stack.enter_async_context(
            wire(lambda: asyncio.open_connection("127.0.0.1", site.port))
        )
        site.ops = await stack.enter_async_context(
            Client(site.url, api_key=ADMIN_KEY, timeout_ms=30_000)
        )
        yield site


@contextmanager
def _sql(database: str, directory: Path) -> Iterator[tuple[OwnPostgres | None, str]]:
    if database == "sqlite":
        yield None, f"sqlite:///{directory / 'ledger.db'}"
        return
    with own_postgres() as server, servers.fresh_database(server.url) as url:
        yield server, url
