"""In what condition the database is: what it is, how it is set up, and whose schema it has."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import check_durability, is_sqlite, reading
from flashstock.ledger.migrate import MIGRATIONS


@dataclass(frozen=True, slots=True)
class DatabaseCondition:
    """``None`` where there is no such thing."""

    product: str
    version: str
    round_trip_ms: float
    clock_ahead_ms: float | None
    """Of this machine's; uncertain by half a round trip. SQLite has this machine's."""
    durability: tuple[str, ...]
    """What breaks the promise that a commit is kept; empty is good."""
    is_primary: bool
    connections_max: int | None
    schema: str | None
    """The migration it stands at; ``None`` where it has no table of ours."""
    schema_newest: str
    schema_known: bool
    """Whether this flashstock has that migration."""


async def condition_of(engine: AsyncEngine) -> DatabaseCondition:
    """Ask; nothing is changed.

    Raises:
        LedgerUnavailable: the database did not answer.
    """
    durability = await check_durability(engine)
    scripts = ScriptDirectory(str(MIGRATIONS))
    known = {script.revision for script in scripts.walk_revisions()}
    newest = scripts.get_current_head() or ""
    async with reading(engine) as connection:
        schema = await connection.run_sync(_schema)
        asked_at = time.time()
        database_s = await _clock(connection, sqlite=is_sqlite(engine))
        answered_at = time.time()
        ahead_s = None if database_s is None else database_s - (asked_at + answered_at) / 2
        version, primary, connections_max = await _server(connection, sqlite=is_sqlite(engine))
    return DatabaseCondition(
        product="SQLite" if is_sqlite(engine) else "PostgreSQL",
        version=version,
        round_trip_ms=(answered_at - asked_at) * 1_000,
        clock_ahead_ms=None if ahead_s is None else ahead_s * 1_000,
        durability=tuple(durability),
        is_primary=primary,
        connections_max=connections_max,
        schema=schema,
        schema_newest=newest,
        schema_known=schema is None or schema in known,
    )


def _schema(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def _clock(connection: AsyncConnection, *, sqlite: bool) -> float | None:
    if sqlite:
        return None
    statement = "SELECT extract(epoch FROM clock_timestamp())::float8"
    return float((await connection.exec_driver_sql(statement)).scalar_one())


async def _server(connection: AsyncConnection, *, sqlite: bool) -> tuple[str, bool, int | None]:
    """Version, whether it takes writes, and how many connections it takes."""
    if sqlite:
        version = (await connection.exec_driver_sql("SELECT sqlite_version()")).scalar_one()
        return str(version), True, None
    answer = await connection.exec_driver_sql(
        "SELECT current_setting('server_version'), NOT pg_is_in_recovery(),"
        " current_setting('max_connections')::int"
    )
    found: Any = answer.one()
    version, primary, connections_max = found
    return str(version), bool(primary), int(connections_max)
