"""What is told of groups: read from the journal, once for each event, in its order.

The position of a shard moves in the transaction that writes the webhooks of what lies behind it,
and only from where it was read. So several readers are harmless, a death anywhere costs nothing,
and nothing is told twice. What SQL refused of the journal (quarantine) never happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import FlashstockError
from flashstock.ledger.engine import insert_if_absent, reading, writing
from flashstock.ledger.tables import cursors, journal, pools, quarantine
from flashstock.model import events
from flashstock.notices.group_stories import STORIES, Tell
from flashstock.notices.outbox import announce
from flashstock.notices.tables import group_news_cursors

INTERVAL_S: Final = 0.5
ENTRIES_AT_ONCE: Final = 32

logger = logging.getLogger(__name__)

Position = tuple[int, int]
"""(generation, seq) of the last event that was looked at."""


class GroupNews:
    """Reads and tells until cancelled."""

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
                logger.info("no news of groups this time: %s", failure)
            except Exception:
                logger.exception("the news of groups could not be told")
            await self._sleep(INTERVAL_S)

    async def catch_up(self) -> int:
        """Look at every shard's journal to its end; how many webhooks are to go out for it.

        Raises:
            LedgerUnavailable: what was told so far stands.
        """
        async with reading(self._engine) as connection:
            shards = (await connection.execute(select(cursors.c.shard))).scalars().all()
        told = 0
        for shard in sorted(shards):
            while (more := await self.tell_some(shard)) is not None:
                told += more
        return told

    async def tell_some(self, shard: int) -> int | None:
        """Tell of the next entries of a shard; ``None`` at the end (or where another was first)."""
        before = await self._position(shard)
        async with reading(self._engine) as connection:
            end = await _end(connection, shard)
            if end <= before:
                return None
            rows = await _entries(connection, shard, before, end)
            after = end
            if len(rows) == ENTRIES_AT_ONCE:
                after = (rows[-1].generation, rows[-1].seq + rows[-1].event_count - 1)
            refused = await _refused(connection, shard, before, after)
        async with writing(self._engine) as connection:
            if not await _advance(connection, shard, before, after):
                return None

            told = 0

            async def tell(topic: str, payload: dict[str, Any], at_ms: int) -> None:
                nonlocal told
                told += await announce(connection, topic, payload, at_ms)

            for row in rows:
                await _tell_entry(connection, shard, row, refused, tell)
            return told

    async def _position(self, shard: int) -> Position:
        columns = group_news_cursors.c
        statement = select(columns.generation, columns.seq).where(columns.shard == shard)
        async with reading(self._engine) as connection:
            row = (await connection.execute(statement)).first()
        if row is not None:
            return row.generation, row.seq
        first = {"shard": shard, "generation": 0, "seq": 0}
        async with writing(self._engine) as connection:
            await connection.execute(
                insert_if_absent(self._engine, group_news_cursors).values(first)
            )
        return 0, 0


async def _end(connection: AsyncConnection, shard: int) -> Position:
    """Where the journal of a shard ends. Entries are added behind its end only."""
    position = (journal.c.generation, journal.c.seq)
    statement = (
        select(*position, journal.c.count.label("event_count"))
        .where(journal.c.shard == shard)
        .order_by(*(column.desc() for column in position))
        .limit(1)
    )
    row = (await connection.execute(statement)).first()
    return (row.generation, row.seq + row.event_count - 1) if row is not None else (0, 0)


async def _entries(
    connection: AsyncConnection, shard: int, after: Position, end: Position
) -> Sequence[Any]:
    """The next entries that may be news: of pools that sell to groups."""
    position = (journal.c.generation, journal.c.seq)
    selling = select(pools.c.id).where(pools.c.group_buy != "")
    statement = (
        select(
            *position,
            journal.c.count.label("event_count"),
            journal.c.kind,
            journal.c.payload,
        )
        .where(
            journal.c.shard == shard,
            tuple_(*position) > tuple_(*after),
            tuple_(*position) <= tuple_(*end),
            journal.c.kind.in_(sorted(STORIES)),
            journal.c.pool.in_(selling),
        )
        .order_by(*position)
        .limit(ENTRIES_AT_ONCE)
    )
    return (await connection.execute(statement)).all()


async def _advance(
    connection: AsyncConnection, shard: int, before: Position, after: Position
) -> bool:
    columns = group_news_cursors.c
    moved = (
        update(group_news_cursors)
        .where(columns.shard == shard, columns.generation == before[0], columns.seq == before[1])
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


async def _tell_entry(
    connection: AsyncConnection, shard: int, row: Any, refused: set[Position], tell: Tell
) -> None:
    entry = events.LogEntry(shard, row.generation, row.seq, row.event_count, row.kind, row.payload)
    try:
        event = events.decode(entry)
    except events.MalformedEntry:
        return  # it is in quarantine
    for number, part in enumerate(events.split(event)) if refused else [(0, event)]:
        if (row.generation, row.seq + number) not in refused:
            await STORIES[row.kind](connection, part, tell)
