"""Fold the journal into the statistics: a bounded piece at a time, each event once.

The position of a shard moves in the transaction that adds what lies behind it, and only from
where it was read (as the writer's cursor does), so several folders are harmless and a death
anywhere costs nothing. What SQL refused of the journal (quarantine) never happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import FlashstockError
from flashstock.ledger.engine import (
    LONG_OPERATION_TIMEOUT_MS,
    insert_if_absent,
    is_sqlite,
    reading,
    writing,
)
from flashstock.ledger.tables import cursors, journal, quarantine, reservations
from flashstock.model import events
from flashstock.statistics.tables import (
    COUNTS,
    statistics_cursors,
    statistics_lives,
    statistics_minutes,
)
from flashstock.statistics.tally import End, Tally

INTERVAL_S: Final = 1.0
PAUSE_S: Final = 0.02
"""Between two pieces: it runs beside the writer, which must not wait for it."""
ENTRIES_AT_ONCE: Final = 64
EVENTS_AT_ONCE: Final = 500
_IDS_AT_ONCE: Final = 500

logger = logging.getLogger(__name__)

Position = tuple[int, int]
"""(generation, seq) of the last event that is folded."""


class Folder:
    """Folds until cancelled."""

    def __init__(
        self, engine: AsyncEngine, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._engine = engine
        self._sleep = sleep

    async def run(self) -> None:
        """Catch up, again and again."""
        while True:
            try:
                await self.catch_up()
            except FlashstockError as failure:
                logger.info("no statistics this time: %s", failure)
            except Exception:
                logger.exception("the journal could not be folded")
            await self._sleep(INTERVAL_S)

    async def catch_up(self) -> int:
        """Fold every shard's journal to its end; how many entries that took.

        Raises:
            LedgerUnavailable: what was folded so far is kept.
        """
        async with reading(self._engine) as connection:
            shards = (await connection.execute(select(cursors.c.shard))).scalars().all()
        folded = 0
        for shard in sorted(shards):
            while entries := await self.fold_some(shard):
                folded += entries
                await self._sleep(PAUSE_S)
        return folded

    async def recompute(self) -> int:
        """Throw away what was folded and fold it again; until that is done, less is shown.

        What API processes counted (refusals) is kept: no journal has it.
        """
        async with writing(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            # The positions first: whoever folds beside this waits, and then misses his own.
            await connection.execute(update(statistics_cursors).values(generation=0, seq=0))
            await connection.execute(delete(statistics_minutes))
            await connection.execute(delete(statistics_lives))
        return await self.catch_up()

    async def fold_some(self, shard: int) -> int:
        """Fold the next entries of a shard; how many, 0 at the end (or where another was first)."""
        before = await self._position(shard)
        rows = await self._next_rows(shard, before)
        if not rows:
            return 0
        last = rows[-1]
        after = (last.generation, last.seq + last.event_count - 1)
        tally = Tally()
        async with reading(self._engine) as connection:
            refused = await _refused(connection, shard, before, after)
            for row in rows:
                _count(tally, shard, row, refused)
            lives = await _lives(connection, tally.ends)
        buckets = tally.add_lives(lives)
        async with writing(self._engine) as connection:
            if not await _advance(connection, shard, before, after):
                return 0
            await self._add(connection, tally, buckets)
        return len(rows)

    async def _position(self, shard: int) -> Position:
        where = statistics_cursors.c.shard == shard
        statement = select(statistics_cursors.c.generation, statistics_cursors.c.seq).where(where)
        async with reading(self._engine) as connection:
            row = (await connection.execute(statement)).first()
        if row is not None:
            return row.generation, row.seq
        first = {"shard": shard, "generation": 0, "seq": 0}
        async with writing(self._engine) as connection:
            await connection.execute(
                insert_if_absent(self._engine, statistics_cursors).values(first)
            )
        return 0, 0

    async def _next_rows(self, shard: int, after: Position) -> Sequence[Any]:
        statement = (
            select(
                journal.c.generation,
                journal.c.seq,
                journal.c.count.label("event_count"),
                journal.c.kind,
                journal.c.payload,
            )
            .where(
                journal.c.shard == shard,
                tuple_(journal.c.generation, journal.c.seq) > tuple_(*after),
            )
            .order_by(journal.c.generation, journal.c.seq)
            .limit(ENTRIES_AT_ONCE)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
        wanted, counted = 0, 0
        for row in rows:
            counted += row.event_count
            if wanted and counted > EVENTS_AT_ONCE:
                break
            wanted += 1
        return rows[:wanted]

    async def _add(
        self,
        connection: AsyncConnection,
        tally: Tally,
        buckets: Mapping[tuple[str, int, int], int],
    ) -> None:
        minutes = [
            {"pool": pool, "minute_ms": minute, **{name: counts[name] for name in COUNTS}}
            for (pool, minute), counts in sorted(tally.minutes.items())
        ]
        if minutes:
            added = adding(self._engine, statistics_minutes, COUNTS)
            await connection.execute(added, minutes)
        lives = [
            {"pool": pool, "minute_ms": minute, "bucket": bucket, "holds": holds}
            for (pool, minute, bucket), holds in sorted(buckets.items())
        ]
        if lives:
            await connection.execute(adding(self._engine, statistics_lives, ("holds",)), lives)


def adding(engine: AsyncEngine, table: Any, names: Sequence[str]) -> Any:
    """An INSERT that adds to what the row with the same key has."""
    insert: Any = sqlite.insert(table) if is_sqlite(engine) else postgresql.insert(table)
    sums = {name: table.c[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)


async def _advance(
    connection: AsyncConnection, shard: int, before: Position, after: Position
) -> bool:
    moved = (
        update(statistics_cursors)
        .where(
            statistics_cursors.c.shard == shard,
            statistics_cursors.c.generation == before[0],
            statistics_cursors.c.seq == before[1],
        )
        .values(generation=after[0], seq=after[1])
    )
    return (await connection.execute(moved)).rowcount == 1


async def _refused(
    connection: AsyncConnection, shard: int, before: Position, after: Position
) -> set[Position]:
    """What of these events contradicted SQL; written with the journal's rows, so it is all here."""
    position = (quarantine.c.generation, quarantine.c.seq)
    rows = await connection.execute(
        select(*position).where(
            quarantine.c.shard == shard,
            tuple_(*position) > tuple_(*before),
            tuple_(*position) <= tuple_(*after),
        )
    )
    return {(generation, seq) for generation, seq in rows}


def _count(tally: Tally, shard: int, row: Any, refused: set[Position]) -> None:
    entry = events.LogEntry(shard, row.generation, row.seq, row.event_count, row.kind, row.payload)
    try:
        event = events.decode(entry)
    except events.MalformedEntry:
        return  # it is in quarantine
    for number, part in enumerate(events.split(event)) if refused else [(0, event)]:
        if (row.generation, row.seq + number) not in refused:
            tally.add(entry, part)


async def _lives(connection: AsyncConnection, ends: Sequence[End]) -> list[tuple[End, int]]:
    """How long each of these holds had lasted. When it was granted never changes."""
    granted: dict[str, int] = {}
    ids = sorted({end.reservation_id for end in ends})
    for start in range(0, len(ids), _IDS_AT_ONCE):
        rows = await connection.execute(
            select(reservations.c.id, reservations.c.created_at_ms).where(
                reservations.c.id.in_(ids[start : start + _IDS_AT_ONCE])
            )
        )
        granted.update((row.id, row.created_at_ms) for row in rows)
    return [
        (end, max(0, end.at_ms - granted[end.reservation_id]))
        for end in ends
        if end.reservation_id in granted
    ]
