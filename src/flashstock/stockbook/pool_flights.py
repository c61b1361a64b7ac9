"""What is between the book and the pools, and the proof that nothing else is.

For each pool and SKU the book has ``quantity + shipped`` units set aside; the pool has ``total``
units, each worth ``per_unit`` of them. The difference is what is in flight: units that have left
the book and have not reached the pool, or have left the pool and have not reached the book.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import PoolOfBook
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, is_sqlite, reading, writing
from flashstock.ledger.tables import pools
from flashstock.stockbook.pool_commands import (
    PoolCommand,
    PoolCommandKind,
    change,
    pending_command,
    pending_of,
    pending_page,
)
from flashstock.stockbook.pool_journal import trace_of
from flashstock.stockbook.tables import allocations, pool_commands

DIFFERENCES_SHOWN_MAX: Final = 100
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Flight:
    """A command on its way. ``units_in`` have left the book, ``units_out`` have left the pool."""

    command: PoolCommand
    units_in: int
    units_out: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A pool and a SKU where book, pool and what is in flight do not add up."""

    pool: str
    sku: str
    in_book: int
    in_pool: int
    in_flight: int


@asynccontextmanager
async def one_moment(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction whose statements all see the same moment."""
    if is_sqlite(engine):
        async with reading(engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            yield connection
        return
    async with writing(engine, LONG_OPERATION_TIMEOUT_MS) as connection:
        statement = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        await connection.execute(text(statement))
        yield connection


InFlight = Callable[[AsyncConnection], Awaitable[Mapping[str, int]]]
"""Units by pool that have left it and that the book still counts, for other reasons than ours."""


class PoolFlights:
    """Reads for those who watch. Every method raises ``LedgerUnavailable``.

    Args:
        shard_of: the shard a pool lives in.
        clock: ms since the epoch.
        returning: sold units that have left their pool and are not booked as returned yet.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        shard_of: Callable[[str], int],
        clock: Callable[[], int],
        returning: InFlight | None = None,
    ) -> None:
        self._engine = engine
        self._shard_of = shard_of
        self._clock = clock
        self._returning = returning

    async def page(self, after: tuple[int, str], limit: int) -> list[Flight]:
        """Pending commands, oldest first."""
        async with one_moment(self._engine) as connection:
            commands = await pending_page(connection, after, limit)
            return [await self._flight(connection, command) for command in commands]

    async def of_pools(self, names: list[str]) -> list[Flight]:
        """Pending commands of these pools, in the order they will be done in."""
        async with one_moment(self._engine) as connection:
            commands = await pending_of(connection, names)
            return [await self._flight(connection, command) for command in commands]

    async def refuse_if_of_book(self, pool: str) -> None:
        """Units that the book has set aside are moved by the book only.

        Raises:
            PoolOfBook: the pool has, or had, units of the book.
        """
        statement = select(allocations.c.sku).where(allocations.c.pool == pool).limit(1)
        async with reading(self._engine) as connection:
            if (await connection.execute(statement)).first() is not None:
                raise PoolOfBook(pool=pool)

    async def counts(self) -> tuple[int, int]:
        """(commands pending, the age of the oldest in ms), for the metrics."""
        pending = pool_commands.c.state == "pending"
        statement = select(func.count(), func.min(pool_commands.c.created_at_ms)).where(pending)
        async with reading(self._engine) as connection:
            count, oldest_ms = (await connection.execute(statement)).one()
        return int(count), max(0, self._clock() - int(oldest_ms)) if oldest_ms else 0

    async def differences(self) -> list[Difference]:
        """Where units are in two places, or in none; empty is right.

        Reads everything as of one moment, a page at a time.
        """
        found: list[Difference] = []
        async with one_moment(self._engine) as connection:
            flying = await self._net_in_flight(connection)
            after = ("", "")
            while len(found) < DIFFERENCES_SHOWN_MAX:
                rows = await _booked(connection, after, _PAGE)
                for row in rows:
                    in_flight = flying.get(row.pool, 0) * row.per_unit
                    in_pool = int(row.total or 0) * row.per_unit
                    if int(row.booked) != in_pool + in_flight:
                        found.append(
                            Difference(row.pool, row.sku, int(row.booked), in_pool, in_flight)
                        )
                if len(rows) < _PAGE:
                    break
                after = (rows[-1].pool, rows[-1].sku)
        return found[:DIFFERENCES_SHOWN_MAX]

    async def try_again(self, command_id: str) -> PoolCommand | None:
        """Let a command that waits for a person go on, under a new digest; ``None``: no such one.

        For after what stood in its way was mended. A command that is not blocked stays as it is.
        """
        async with writing(self._engine) as connection:
            command = await pending_command(connection, command_id)
            if command is None or not command.blocked:
                return command
            changes = {"blocked": False, "problem": "", "attempt": command.attempt + 1}
            await change(connection, command, self._clock(), **changes)
            return await pending_command(connection, command_id)

    async def _net_in_flight(self, connection: AsyncConnection) -> dict[str, int]:
        flying = dict(await self._returning(connection)) if self._returning is not None else {}
        after = (-1, "")
        while True:
            commands = await pending_page(connection, after, _PAGE)
            for command in commands:
                flight = await self._flight(connection, command)
                units = flight.units_in + flight.units_out
                flying[command.pool] = flying.get(command.pool, 0) + units
            if len(commands) < _PAGE:
                return flying
            after = (commands[-1].created_at_ms, commands[-1].id)

    async def _flight(self, connection: AsyncConnection, command: PoolCommand) -> Flight:
        moves = command.kind is not PoolCommandKind.CREATE
        shard = self._shard_of(command.pool)
        trace = (
            await trace_of(connection, shard, command.pool, command.digest, command.after_seq)
            if moves
            else None
        )
        counts = trace is not None and not trace.refused
        if command.kind is PoolCommandKind.ADD:
            return Flight(command, 0 if counts else command.quantity, 0)
        return Flight(command, 0, -trace.total_delta if trace is not None and counts else 0)


async def _booked(connection: AsyncConnection, after: tuple[str, str], limit: int) -> list[Any]:
    columns = allocations.c
    statement = (
        select(
            columns.pool,
            columns.sku,
            columns.per_unit,
            func.sum(columns.quantity + columns.shipped).label("booked"),
            func.max(pools.c.total).label("total"),
        )
        .outerjoin(pools, pools.c.id == columns.pool)
        .where((columns.pool > after[0]) | ((columns.pool == after[0]) & (columns.sku > after[1])))
        .group_by(columns.pool, columns.sku, columns.per_unit)
        .order_by(columns.pool, columns.sku)
        .limit(limit)
    )
    return list((await connection.execute(statement)).all())
