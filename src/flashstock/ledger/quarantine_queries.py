"""What went to quarantine, and what is still to be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, or_, select, update

from flashstock.ledger.engine import writing
from flashstock.ledger.reads import Reads
from flashstock.ledger.stored import QuarantinedEvent
from flashstock.ledger.tables import quarantine
from flashstock.model.events import LogEntry, MalformedEntry, decode
from flashstock.model.subjects import subject_of

UNPAUSED_MAX: Final = 1_000


class QuarantineQueries(Reads):
    """Part of ``Queries``."""

    async def quarantined(self, after: int, limit: int) -> list[QuarantinedEvent]:
        """Events that contradicted SQL, by id, whether they were dealt with or not."""
        statement = select(quarantine).where(quarantine.c.id > after).order_by(quarantine.c.id)
        rows = await self._all(statement.limit(limit))
        return [QuarantinedEvent(**row._asdict()) for row in rows]

    async def quarantined_event(self, event_id: int) -> QuarantinedEvent | None:
        """One of them."""
        row = await self._first(select(quarantine).where(quarantine.c.id == event_id))
        return None if row is None else QuarantinedEvent(**row._asdict())

    async def refused_events(
        self, shard: int, generation: int, after_seq: int
    ) -> list[tuple[str, int]]:
        """(subject, seq) of what SQL refused of a generation after a seq, and of whatever else of
        the shard nobody has resolved: until then Redis may still know it as if it had happened.
        """
        lately = and_(quarantine.c.generation == generation, quarantine.c.seq > after_seq)
        statement = select(quarantine).where(
            quarantine.c.shard == shard, or_(quarantine.c.resolved_at_ms.is_(None), lately)
        )
        rows = [QuarantinedEvent(**row._asdict()) for row in await self._all(statement)]
        return [(_subject(row), row.seq) for row in rows]

    async def quarantine_unpaused(self) -> list[QuarantinedEvent]:
        """Those that nothing was done about in Redis; the oldest, if there are very many."""
        statement = select(quarantine).where(
            quarantine.c.pool_paused.is_(False), quarantine.c.resolved_at_ms.is_(None)
        )
        rows = await self._all(statement.order_by(quarantine.c.id).limit(UNPAUSED_MAX))
        return [QuarantinedEvent(**row._asdict()) for row in rows]

    async def mark_quarantine_paused(self, ids: Sequence[int]) -> None:
        """Note that the pools of these are paused in Redis."""
        statement = update(quarantine).where(quarantine.c.id.in_(ids)).values(pool_paused=True)
        async with writing(self._engine) as connection:
            await connection.execute(statement)

    async def resolve_quarantined(self, ids: Sequence[int], at_ms: int) -> None:
        """Note that nothing is left to be done about these; the first time counts."""
        is_open = quarantine.c.resolved_at_ms.is_(None)
        statement = update(quarantine).where(quarantine.c.id.in_(ids), is_open)
        statement = statement.values(resolved_at_ms=at_ms)
        async with writing(self._engine) as connection:
            await connection.execute(statement)


def _subject(row: QuarantinedEvent) -> str:
    try:
        return subject_of(
            decode(LogEntry(row.shard, row.generation, row.seq, 1, row.kind, row.payload))
        )
    except MalformedEntry:
        return row.pool
