"""Cursors: up to which event the log of a shard is in SQL, and who may move them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.dml import Update

from flashstock.ledger.engine import insert_if_absent, reading, writing
from flashstock.ledger.tables import cursors

LOG_START: Final = "0-0"
"""The stream id before every other."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """All events up to ``seq`` are in SQL; ``log_id`` is the stream id of the last one's entry.

    ``seq`` goes on counting across generations: a new one starts where the old one ended.
    """

    shard: int
    generation: int
    seq: int
    log_id: str


class Cursors:
    """The cursors of all shards, and the leases of those who recover a shard.

    Every method raises ``LedgerUnavailable`` where the database did not answer; the outcome of
    a write is then unknown, and reading the cursor tells it.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def cursor(self, shard: int) -> Cursor | None:
        """Where the shard stands, or ``None`` where it was never opened."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_SELECT.where(cursors.c.shard == shard))).first()
        return None if row is None else Cursor(*row)

    async def create_cursor(self, shard: int) -> Cursor:
        """The shard's cursor, made at generation 1 and seq 0 where there is none. Idempotent."""
        statement = insert_if_absent(self._engine, cursors)
        first = {
            "shard": shard,
            "generation": 1,
            "seq": 0,
            "log_id": LOG_START,
            "opened_generation": 0,
            "recovery_until_ms": 0,
            "updated_at_ms": self._clock(),
        }
        async with writing(self._engine) as connection:
            await connection.execute(statement, first)
            row = (await connection.execute(_SELECT.where(cursors.c.shard == shard))).one()
        return Cursor(*row)

    async def keep_alive(self, cursor: Cursor, at_ms: int) -> bool:
        """Note that the shard works, although nothing happens. False: it stands elsewhere by now.

        Args:
            at_ms: by the clock of the shard's server. What is known to be later is kept.
        """
        known = cursors.c.alive_at_ms
        statement = (
            update(cursors)
            .where(
                cursors.c.shard == cursor.shard,
                cursors.c.generation == cursor.generation,
                cursors.c.seq == cursor.seq,
                cursors.c.log_id == cursor.log_id,
            )
            .values(alive_at_ms=case((known > at_ms, known), else_=at_ms))
        )
        async with writing(self._engine) as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def alive_at_ms(self, shard: int) -> int:
        """When the shard is last known to have worked: its last decision, or its writer's last
        look. By the clock of its server; 0 where that was never noted.
        """
        statement = select(cursors.c.alive_at_ms).where(cursors.c.shard == shard)
        async with reading(self._engine) as connection:
            return int((await connection.execute(statement)).scalar() or 0)

    async def bump_generation(
        self, shard: int, from_generation: int, opened: int, owner: str, lease_ms: int
    ) -> Cursor | None:
        """Begin a recovery: fence every writer and take the shard's recovery lease.

        From here on nothing decided under an older generation is committed, except by the owner
        who drains it knowingly.

        Args:
            opened: the opened generation that was seen when it was found that this is needed.

        Returns:
            The cursor under the new generation, or ``None`` where the generation is not
            ``from_generation``, or somebody has opened it meanwhile, or else's lease still runs.
        """
        now = self._clock()
        statement = (
            update(cursors)
            .where(
                cursors.c.shard == shard,
                cursors.c.generation == from_generation,
                cursors.c.opened_generation == opened,
                or_(
                    cursors.c.recovery_owner.is_(None),
                    cursors.c.recovery_owner == owner,
                    cursors.c.recovery_until_ms <= now,
                ),
            )
            .values(
                generation=from_generation + 1,
                recovery_owner=owner,
                recovery_until_ms=now + lease_ms,
                updated_at_ms=now,
            )
            .returning(*_COLUMNS)
        )
        async with writing(self._engine) as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else Cursor(*row)

    async def renew_recovery(self, shard: int, generation: int, owner: str, lease_ms: int) -> bool:
        """Make the lease run ``lease_ms`` from now. False: it is the owner's no more; stop.

        One that ran out is nobody's, taken over or not: the shard was away for longer than its
        owner knows.
        """
        values = {"recovery_until_ms": self._clock() + lease_ms}
        return await self._change_lease(shard, generation, owner, values)

    async def finish_recovery(self, shard: int, generation: int, owner: str) -> bool:
        """Note that the shard was opened under this generation, and give the lease back.

        False: it was the owner's no more; the shard has to be recovered again.
        """
        values = {
            "opened_generation": generation,
            "recovery_owner": None,
            "recovery_until_ms": 0,
        }
        return await self._change_lease(shard, generation, owner, values)

    async def opened_generation(self, shard: int) -> int:
        """The last generation whose recovery was finished; 0 where there was none.

        A data set that was last opened under an older one is a stale copy.
        """
        statement = select(cursors.c.opened_generation).where(cursors.c.shard == shard)
        async with reading(self._engine) as connection:
            opened: int | None = (await connection.execute(statement)).scalar()
        return opened or 0

    async def _change_lease(
        self, shard: int, generation: int, owner: str, values: dict[str, Any]
    ) -> bool:
        now = self._clock()
        statement: Update = (
            update(cursors)
            .where(
                cursors.c.shard == shard,
                cursors.c.generation == generation,
                cursors.c.recovery_owner == owner,
                cursors.c.recovery_until_ms > now,
            )
            .values(updated_at_ms=now, **values)
        )
        async with writing(self._engine) as connection:
            return (await connection.execute(statement)).rowcount == 1


_COLUMNS: Final = (cursors.c.shard, cursors.c.generation, cursors.c.seq, cursors.c.log_id)
_SELECT: Final = select(*_COLUMNS)
