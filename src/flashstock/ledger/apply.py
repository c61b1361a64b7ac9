"""Fold the log into SQL: exactly once, in order, a batch per transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.batch import Step, steps_of
from flashstock.ledger.cursor import Cursor, Cursors
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, is_sqlite, reading, writing
from flashstock.ledger.failures import CursorMoved, LedgerUnavailable, LogGap, is_violation
from flashstock.ledger.quarantine import change_all_but_violations
from flashstock.ledger.tables import MAY_RUN_OUT, reservations
from flashstock.ledger.writes import LedgerWrites
from flashstock.ledger.writes_postgres import PostgresWrites
from flashstock.ledger.writes_sqlite import SqliteWrites
from flashstock.model.events import Event, LogEntry, MalformedEntry
from flashstock.model.fold import fold
from flashstock.model.orders import order_number

__all__ = ["Applied", "Cursor", "CursorMoved", "Ledger", "LedgerUnavailable", "LogGap"]

POSTPONE_TIMEOUT_MS: Final = 600_000
"""PostgreSQL takes about 12 µs a hold. A recovery that gives up here would begin again for ever."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did: where the cursor is now, and the seqs that went to quarantine."""

    cursor: Cursor
    quarantined: tuple[int, ...] = ()


class Ledger(Cursors):
    """The writing side of SQL.

    Args:
        order_secret: hides the number of sales in order numbers; never changes.
        clock: ms since the epoch; stamps the rows that are about our own doings. The times of
            reservations and pools come with the events.
    """

    def __init__(self, engine: AsyncEngine, order_secret: bytes, clock: Callable[[], int]) -> None:
        super().__init__(engine, clock)
        self._order_secret = order_secret
        self._writes: LedgerWrites = SqliteWrites() if is_sqlite(engine) else PostgresWrites()

    async def apply(
        self, cursor: Cursor, entries: Sequence[LogEntry], generation: int | None = None
    ) -> Applied:
        """Commit what the entries say, together with the cursor that says so.

        Entries at or below the cursor are left out, so a batch may be sent again. An event that
        contradicts SQL goes to quarantine and its pool is paused; the others are applied.

        Args:
            generation: the one the entries must be of. The cursor's own, unless a recovery
                drains what an earlier one left in the log.

        Raises:
            LogGap: the log does not go on at ``cursor.seq + 1``; nothing is written.
            CursorMoved: the cursor in SQL is not at ``cursor``; nothing is written.
            LedgerUnavailable: nothing is written, or all of it is and the answer was lost: send
                the same batch again.
        """
        steps = steps_of(cursor, entries, cursor.generation if generation is None else generation)
        if not steps:
            return Applied(cursor)
        last = steps[-1].entry
        after = replace(cursor, seq=last.last_seq, log_id=last.stream_id or cursor.log_id)
        try:
            async with writing(self._engine) as connection:
                await self._advance(connection, cursor, after, steps)
                await self._change(connection, steps)
        except Exception as error:
            if not is_violation(error):
                raise
        else:
            return Applied(after)
        async with writing(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            await self._advance(connection, cursor, after, steps)
            quarantined = await change_all_but_violations(
                connection, steps, self._change, self._clock()
            )
        return Applied(after, quarantined)

    async def interrupted_holds(self, shard: int, began_ms: int) -> dict[str, int]:
        """How many holds of each pool an outage that began then kept from being paid.

        Not those that were over by then.
        """
        statement = (
            select(reservations.c.pool, func.count())
            .where(
                reservations.c.shard == shard,
                text(MAY_RUN_OUT),
                reservations.c.deadline_ms > began_ms,
            )
            .group_by(reservations.c.pool)
            .order_by(reservations.c.pool)
        )
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            rows = await connection.execute(statement)
        return {row[0]: row[1] for row in rows}

    async def postpone(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor:
        """As ``apply``, for what a recovery decides about all holds of a shard, and all or nothing.

        The cursor moves last: as long as it takes, whoever renews the lease need not wait.

        Raises:
            CursorMoved, LedgerUnavailable: as ``apply``.
        """
        steps = steps_of(cursor, entries, cursor.generation)
        last = entries[-1]
        after = replace(cursor, seq=last.last_seq, log_id=last.stream_id)
        async with writing(self._engine, POSTPONE_TIMEOUT_MS) as connection:
            await self._change(connection, steps)
            await self._advance(connection, cursor, after, steps)
        return after

    async def _advance(
        self, connection: AsyncConnection, before: Cursor, after: Cursor, steps: Sequence[Step]
    ) -> None:
        rows = [step.journal_row() for step in steps]
        if not await self._writes.advance(connection, before, after, rows, self._clock()):
            raise CursorMoved(f"shard {before.shard} is no longer at seq {before.seq}")

    async def _change(self, connection: AsyncConnection, steps: Sequence[Step]) -> None:
        changes = fold(_readable(steps))
        order_numbers = {
            sale.reservation_id: order_number(
                self._order_secret, steps[0].entry.shard, sale.order_index, sale.buyer
            )
            for sale in changes.sales
        }
        await self._writes.change(connection, steps[0].entry.shard, changes, order_numbers)


def _readable(steps: Sequence[Step]) -> list[tuple[LogEntry, Event]]:
    read: list[tuple[LogEntry, Event]] = []
    for step in steps:
        if step.event is None:
            raise MalformedEntry(step.problem)
        read.append((step.entry, step.event))
    return read
