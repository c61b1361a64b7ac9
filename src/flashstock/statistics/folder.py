"""Fold the journal into the statistics: a bounded piece at a time, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, is_sqlite, reading, writing
from flashstock.ledger.journal_reader import (
    JournalReader,
    Position,
    accepted,
    end_of,
    refused_between,
)
from flashstock.ledger.tables import journal, reservations
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


class Folder(JournalReader):
    """Folds until cancelled."""

    def __init__(
        self, engine: AsyncEngine, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(engine, statistics_cursors, "statistics", INTERVAL_S, sleep)

    async def catch_up(self) -> int:
        """Fold every shard's journal to its end; how many entries that took.

        Raises:
            LedgerUnavailable: what was folded so far is kept.
        """
        folded = 0
        for shard in await self._shards():
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
        after = end_of(rows[-1])
        tally = Tally()
        async with reading(self._engine) as connection:
            refused = await refused_between(connection, shard, before, after)
            for row in rows:
                for entry, event in accepted(shard, row, refused):
                    tally.add(entry, event)
            lives = await _lives(connection, tally.ends)
        buckets = tally.add_lives(lives)
        async with writing(self._engine) as connection:
            if not await self._advance(connection, shard, before, after):
                return 0
            await self._add(connection, tally, buckets)
        return len(rows)

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
