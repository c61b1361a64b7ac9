"""Reading in the journal which outage a recovery gave back last.

What it gives back are the first events of its generation, so they are found by the journal's key.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, select, union_all

from flashstock.ledger.reads import Reads
from flashstock.ledger.stored import GivenBack
from flashstock.ledger.tables import journal
from flashstock.model.events import LogEntry, Postponed, decode

GENERATIONS_READ_MAX: Final = 32
"""How many recoveries back an outage is looked for."""
POOLS_READ_MAX: Final = 10_000
"""Of a shard that has more pools with holds, the holds of the others are not counted."""
_POSTPONED: Final = "postponed"


class OutageQueries(Reads):
    """Part of ``Queries``."""

    async def last_given_back(self, shard: int, generation: int) -> GivenBack | None:
        """The last outage that was given back up to this generation; ``None``: none lately.

        Where a recovery was cut off amid one outage, and another gave back the rest, it is told
        as the one that it was. Bounded: one look at the first event of each generation, and one
        at those of the generation that gave back.
        """
        latest = range(generation, max(0, generation - GENERATIONS_READ_MAX), -1)
        firsts = [_first_of(shard, one) for one in latest]
        rows = await self._all(select(union_all(*firsts).subquery())) if firsts else []
        if not rows:
            return None
        newest, *older = sorted(rows, reverse=True)
        outage = _postponed(shard, newest)
        began_ms = outage.began_ms
        for row in older:
            earlier = _postponed(shard, row)
            if earlier.at_ms != began_ms:
                break
            began_ms = earlier.began_ms
        holds = await self._holds(shard, newest.generation, newest.seq)
        return GivenBack(began_ms, outage.at_ms, holds)

    async def _holds(self, shard: int, generation: int, first_seq: int) -> int:
        """Each pool has one event, and the events follow each other."""
        statement = select(*_COLUMNS).where(
            journal.c.shard == shard,
            journal.c.generation == generation,
            journal.c.seq < first_seq + POOLS_READ_MAX,
            journal.c.kind == _POSTPONED,
        )
        return sum(_postponed(shard, row).holds for row in await self._all(statement))


_COLUMNS: Final = (journal.c.generation, journal.c.seq, journal.c.payload)


def _first_of(shard: int, generation: int) -> Select[Any]:
    """The first event of a generation, if it is one that gives back."""
    first = (
        select(*_COLUMNS, journal.c.kind)
        .where(journal.c.shard == shard, journal.c.generation == generation)
        .order_by(journal.c.seq)
        .limit(1)
        .subquery()
    )
    return select(first.c.generation, first.c.seq, first.c.payload).where(
        first.c.kind == _POSTPONED
    )


def _postponed(shard: int, row: Any) -> Postponed:
    entry = LogEntry(shard, row.generation, row.seq, 1, _POSTPONED, row.payload)
    event = decode(entry)
    assert isinstance(event, Postponed)
    return event
