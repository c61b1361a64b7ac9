"""Connections to the ledger: durable, bounded in number, and never waited for too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Insert, Row, Select, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from flashstock.errors import ConfigurationError
from flashstock.ledger import sqlite_connection
from flashstock.ledger.failures import LedgerUnavailable, trouble_as_unavailable

CONNECT_TIMEOUT_MS: Final = 1_000
OPERATION_TIMEOUT_MS: Final = 1_300
"""A dead or frozen PostgreSQL is an error after this long, whatever the operation was doing."""
LONG_OPERATION_TIMEOUT_MS: Final = 60_000
"""For what touches every row of a shard."""
SQLITE_BUSY_TIMEOUT_MS: Final = 5_000
CONNECTIONS: Final = 5
CONNECTIONS_MAX: Final = 10

_WRITES: Final = "flashstock_writes"
_DRIVERS: Final = {"postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}
_FULL_SYNC: Final = 2
_SQLITE_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "wal_autocheckpoint = 10000",  # pages: 40 MB of log between two syncs of the main file
    "cache_size = -16000",  # KiB
)


def create_engine(url: str) -> AsyncEngine:
    """An engine whose connections are opened on first use. Dispose of it when done.

    Args:
        url: ``postgresql://…`` or ``sqlite:///file``; the asynchronous driver is chosen here.

    Raises:
        ConfigurationError: the address is malformed, of another database, or SQLite without a
            file, which could keep no promise.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    return create_async_engine(
        address,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS_MAX - CONNECTIONS,
        pool_timeout=CONNECT_TIMEOUT_MS / 1000,
        connect_args={
            "timeout": CONNECT_TIMEOUT_MS / 1000,
            "server_settings": {
                "application_name": "flashstock",
                # A plan made while the tables were empty must not be kept once they are not:
                # it reads them from end to end (60 ms instead of 2 at 200,000 reservations).
                "plan_cache_mode": "force_custom_plan",
                # The rows a sale touches are in memory: look a thousand up rather than read all.
                "random_page_cost": "1.1",
            },
        },
    )


def is_sqlite(engine: AsyncEngine) -> bool:
    return engine.dialect.name == "sqlite"


def insert_if_absent(engine: AsyncEngine, table: Table) -> Insert:
    """An INSERT that leaves alone whatever row has one of the new row's unique values."""
    if is_sqlite(engine):
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


@asynccontextmanager
async def writing(
    engine: AsyncEngine, timeout_ms: int | None = None
) -> AsyncIterator[AsyncConnection]:
    """One transaction: committed when the block ends, rolled back when the block raises.

    On SQLite it takes the write lock at once, so that no two writers meet half way.

    Args:
        timeout_ms: for everything together, the commit included; ``OPERATION_TIMEOUT_MS`` where
            nothing is said. It bounds PostgreSQL only: SQLite answers from the local disk, and
            waits ``SQLITE_BUSY_TIMEOUT_MS`` for its lock.

    Raises:
        LedgerUnavailable: nothing is committed, or the answer to the commit was lost.
    """
    writers = engine.execution_options(**{_WRITES: True})
    async with _connected(writers, timeout_ms) as connection, connection.begin():
        yield connection
        if is_sqlite(engine) and not _in_transaction(driver_connection(connection)):
            # Committing it would be answered with silence, as if all were well.
            await connection.invalidate()
            raise LedgerUnavailable("the connection to SQLite was lost before the commit")


@asynccontextmanager
async def reading(
    engine: AsyncEngine, timeout_ms: int | None = None
) -> AsyncIterator[AsyncConnection]:
    """A connection that only reads. Each statement sees one moment, two need not see the same.

    Raises:
        LedgerUnavailable: as for ``writing``.
    """
    if not is_sqlite(engine):
        # Spares BEGIN and ROLLBACK, two of three round trips.
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with _connected(engine, timeout_ms) as connection:
        yield connection


async def in_pages(
    engine: AsyncEngine, statement: Select[Any], page: int, page_timeout_ms: int
) -> AsyncGenerator[Sequence[Row[Any]], None]:
    """What a statement finds at one moment, so many rows at a time and no more in memory.

    For what can't be asked for page by page, because each page would compute all of it again.
    To be closed (``contextlib.aclosing``): it keeps a connection.

    Args:
        page_timeout_ms: for each page. What its reader does in between is not counted.

    Raises:
        LedgerUnavailable: as for ``writing``.
    """
    watchdog = _Watchdog(page_timeout_ms)
    paged = statement.execution_options(yield_per=page)
    async with _connected(engine, page_timeout_ms, watchdog) as connection:
        try:
            async with connection.stream(paged) as found:
                async for rows in found.partitions():
                    watchdog.rest()
                    yield rows
                    watchdog.watch()
        finally:
            watchdog.watch()


async def check_durability(engine: AsyncEngine) -> list[str]:
    """What in the database's settings breaks the promise that a commit is kept; empty is good.

    Raises:
        LedgerUnavailable: the database did not answer.
    """
    async with reading(engine) as connection:
        if is_sqlite(engine):
            synchronous = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one()
            mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
            return sqlite_findings(synchronous, mode)
        rows = await connection.exec_driver_sql(
            "SELECT name, setting FROM pg_settings "
            "WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
        )
        return postgres_findings({row.name: row.setting for row in rows})


def sqlite_findings(synchronous: int, journal_mode: str) -> list[str]:
    """Judge what SQLite reports of a connection of ours."""
    findings = []
    if synchronous < _FULL_SYNC:
        findings.append("SQLite: synchronous is below FULL: a power cut can lose commits")
    if journal_mode.lower() != "wal":
        findings.append(
            f"SQLite: journal_mode is {journal_mode}, not WAL: readers block the writer"
        )
    return findings


def postgres_findings(settings: Mapping[str, str]) -> list[str]:
    """Judge what ``pg_settings`` says."""
    consequences = {
        "fsync": "a crash of the machine can lose commits and corrupt the database",
        "full_page_writes": "a crash of the machine can corrupt the database",
        "synchronous_commit": "a crash of the server can lose the last commits",
    }
    return [
        f"PostgreSQL: {name} is off: {consequence}"
        for name, consequence in consequences.items()
        if settings[name] == "off"
    ]


class _Watchdog:
    """Cuts the line, which turns whatever waits on it into an error at once.

    A cancellation would first wait for the server to agree, which a frozen one never does.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._cut: Callable[[], None] | None = None
        self._bites: asyncio.TimerHandle | None = None

    def guard(self, connection: AsyncConnection) -> None:
        """The line to cut. It is kept: one that is lost can't be asked for any more."""
        self._cut = driver_connection(connection).terminate

    def watch(self, since: float | None = None) -> None:
        """From now on, or from an earlier moment of the loop's clock, if there is a line to cut:
        SQLite answers from the local disk.
        """
        self.rest()
        if self._cut is not None:
            loop = asyncio.get_running_loop()
            begun_at = loop.time() if since is None else since
            self._bites = loop.call_at(begun_at + self._timeout_ms / 1000, self._cut)

    def rest(self) -> None:
        if self._bites is not None:
            self._bites.cancel()


@asynccontextmanager
async def _connected(
    engine: AsyncEngine, timeout_ms: int | None, watchdog: _Watchdog | None = None
) -> AsyncIterator[AsyncConnection]:
    with trouble_as_unavailable():
        if is_sqlite(engine):
            async with engine.connect() as connection:
                yield connection
            return
        limit_ms = OPERATION_TIMEOUT_MS if timeout_ms is None else timeout_ms
        watchdog = watchdog or _Watchdog(limit_ms)
        begun_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(OPERATION_TIMEOUT_MS / 1000):
            connection = await engine.connect()
        watchdog.guard(connection)
        watchdog.watch(begun_at)
        try:
            yield connection
        finally:
            try:
                await connection.close()
            finally:
                watchdog.rest()


def driver_connection(connection: AsyncConnection) -> Any:
    """What the driver itself opened, for what only the driver can do."""
    assert connection.sync_connection is not None, "the connection is closed"
    return connection.sync_connection.connection.driver_connection


def _in_transaction(sqlite_connection: Any) -> bool:
    try:
        return bool(sqlite_connection.in_transaction)
    except ValueError:  # it is closed
        return False


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(f"the database URL can't be read: {error}") from error
    backend, _, driver = address.drivername.partition("+")
    if backend in ("postgres", "postgresql") and driver in ("", "asyncpg"):
        return address.set(drivername="postgresql+asyncpg")
    if backend != "sqlite" or driver not in ("", "aiosqlite"):
        raise ConfigurationError(
            f"the database is {address.drivername}; flashstock keeps its ledger in postgresql "
            "or sqlite"
        )
    if address.database in (None, "", ":memory:") or "mode" in address.query:
        raise ConfigurationError("SQLite needs a file: what is kept in memory is not durable")
    return address.set(drivername="sqlite+aiosqlite")


def _sqlite_engine(address: URL) -> AsyncEngine:
    engine = create_async_engine(
        address,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS_MAX - CONNECTIONS,
        pool_timeout=SQLITE_BUSY_TIMEOUT_MS / 1000,
        # Without an isolation level the driver leaves BEGIN to us.
        connect_args={
            "timeout": SQLITE_BUSY_TIMEOUT_MS / 1000,
            "isolation_level": None,
            "async_creator_fn": sqlite_connection.connect,
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def make_durable(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
