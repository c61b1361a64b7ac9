"""Following the journal from its beginning, once for each event, to make something else of it.

The position of a shard moves in the transaction that writes what was made of the events behind it,
and only from where it was read (as the writer's cursor does). So several readers are harmless, a
death anywhere costs nothing, and nothing is done twice. What SQL refused of the journal
(quarantine) never happened.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sqlalchemy import Table, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import insert_if_absent, reading, writing
from flashstock.ledger.tables import cursors, quarantine
from flashstock.model import events
from flashstock.rounds import costs_one_round

Position = tuple[int, int]
"""(generation, seq) of the last event that was read."""

logger = logging.getLogger(__name__)


class JournalReader(ABC):
    """One reader of all shards' journals.

    Args:
        positions: its own table of ``shard``, ``generation`` and ``seq``.
        makes: what it makes of the journal, in words for the log.
        interval_s: between two rounds.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        positions: Table,
        makes: str,
        interval_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._positions = positions
        self._makes = makes
        self._interval_s = interval_s
        self._sleep = sleep

    async def run(self) -> None:
        """Catch up, again and again, until cancelled."""
        while True:
            with costs_one_round(logger, f"no {self._makes} this time"):
                await self.catch_up()
            await self._sleep(self._interval_s)

    @abstractmethod
    async def catch_up(self) -> int:
        """Read every shard's journal to its end."""

    async def _shards(self) -> list[int]:
        async with reading(self._engine) as connection:
            return sorted((await connection.execute(select(cursors.c.shard))).scalars())

    async def _position(self, shard: int) -> Position:
        columns = self._positions.c
        statement = select(columns.generation, columns.seq).where(columns.shard == shard)
        async with reading(self._engine) as connection:
            row = (await connection.execute(statement)).first()
        if row is not None:
            return row.generation, row.seq
        first = {"shard": shard, "generation": 0, "seq": 0}
        async with writing(self._engine) as connection:
            await connection.execute(insert_if_absent(self._engine, self._positions).values(first))
        return 0, 0

    async def _advance(
        self, connection: AsyncConnection, shard: int, before: Position, after: Position
    ) -> bool:
        """Move on in the caller's transaction; ``False`` where another reader was first."""
        columns = self._positions.c
        moved = (
            update(self._positions)
            .where(
                columns.shard == shard,
                columns.generation == before[0],
                columns.seq == before[1],
            )
            .values(generation=after[0], seq=after[1])
        )
        return (await connection.execute(moved)).rowcount == 1


def end_of(row: Any) -> Position:
    """The last event of an entry, whose ``count`` was read as ``event_count``."""
    return row.generation, row.seq + row.event_count - 1


async def refused_between(
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


def accepted(
    shard: int, row: Any, refused: set[Position]
) -> Iterator[tuple[events.LogEntry, events.Event]]:
    """What SQL took of an entry: the whole, or each number of it that was not refused."""
    entry = events.LogEntry(shard, row.generation, row.seq, row.event_count, row.kind, row.payload)
    try:
        event = events.decode(entry)
    except events.MalformedEntry:
        return  # it is in quarantine
    for number, part in enumerate(events.split(event)) if refused else [(0, event)]:
        if (row.generation, row.seq + number) not in refused:
            yield entry, part
