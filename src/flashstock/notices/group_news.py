"""What is told of groups: read from the journal, once for each event, in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import reading, writing
from flashstock.ledger.journal_reader import (
    JournalReader,
    Position,
    accepted,
    end_of,
    refused_between,
)
from flashstock.ledger.tables import journal, pools
from flashstock.notices.group_stories import STORIES
from flashstock.notices.outbox import announce
from flashstock.notices.tables import group_news_cursors

INTERVAL_S: Final = 0.5
ENTRIES_AT_ONCE: Final = 32


class GroupNews(JournalReader):
    """Reads and tells until cancelled."""

    def __init__(
        self, engine: AsyncEngine, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(engine, group_news_cursors, "news of groups", INTERVAL_S, sleep)

    async def catch_up(self) -> int:
        """Look at every shard's journal to its end; how many webhooks are to go out for it.

        Raises:
            LedgerUnavailable: what was told so far stands.
        """
        told = 0
        for shard in await self._shards():
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
                after = end_of(rows[-1])
            refused = await refused_between(connection, shard, before, after)
        async with writing(self._engine) as connection:
            if not await self._advance(connection, shard, before, after):
                return None

            told = 0

            async def tell(topic: str, payload: dict[str, Any], at_ms: int) -> None:
                nonlocal told
                told += await announce(connection, topic, payload, at_ms)

            for row in rows:
                for _, event in accepted(shard, row, refused):
                    await STORIES[row.kind](connection, event, tell)
            return told


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
    return end_of(row) if row is not None else (0, 0)


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
