"""What reconciliation, repair and rebuild read of SQL beside the ordinary queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, reading
from flashstock.ledger.reads import COUNTS_FOR_LIMIT, IS_HELD, of_limit_scope
from flashstock.ledger.tables import cursors, journal, pools, quarantine, reservations
from flashstock.model.events import decode_rules
from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.rules import PoolCounters, PoolRules


@dataclass(frozen=True, slots=True)
class ReconcilablePool:
    """A pool as SQL has it, and the seq its shard's cursor stood at in the same instant."""

    pool: str
    seq: int
    rules: PoolRules
    counters: PoolCounters
    oversell_allowance: int


@dataclass(frozen=True, slots=True)
class Extent:
    """How much SQL has of a shard that Redis must know."""

    seq: int
    pools: int
    held_reservations: int


@dataclass(frozen=True, slots=True)
class CommandTrace:
    """What an idempotent command left in the journal: enough to recognise a repetition."""

    seq: int
    at_ms: int
    digest: str
    text: str
    """As the script stores it under the command's key."""


class Proof:
    """Reads for those who compare. Every method raises ``LedgerUnavailable``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def cursor_seq(self, shard: int) -> int:
        """How far the shard's log is applied; 0 where it was never opened."""
        statement = select(cursors.c.seq).where(cursors.c.shard == shard)
        async with reading(self._engine) as connection:
            return int((await connection.execute(statement)).scalar() or 0)

    async def extent(self, shard: int) -> Extent:
        """How much a rebuild of the shard would restore, what ended lately apart."""
        in_shard = select(func.count()).where(pools.c.shard == shard)
        held = select(func.count()).where(reservations.c.shard == shard, IS_HELD)
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            pool_count = int((await connection.execute(in_shard)).scalar_one())
            held_count = int((await connection.execute(held)).scalar_one())
        return Extent(await self.cursor_seq(shard), pool_count, held_count)

    async def pools(self, shard: int, after: str, limit: int) -> list[ReconcilablePool]:
        """A page of a shard's pools, each with the cursor of the same instant."""
        statement = (
            _POOLS.where(pools.c.shard == shard, pools.c.id > after)
            .order_by(pools.c.id)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            return [_pool(row) for row in await connection.execute(statement)]

    async def pool(self, pool: str) -> ReconcilablePool | None:
        """One pool with the cursor of the same instant."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_POOLS.where(pools.c.id == pool))).first()
        return None if row is None else _pool(row)

    async def buyers_with_units(self, pool: str, buyers: Sequence[str]) -> set[str]:
        """Those of the buyers who hold or have bought what counts for the pool's limit."""
        statement = (
            select(reservations.c.buyer)
            .where(
                of_limit_scope(pool),
                COUNTS_FOR_LIMIT,
                reservations.c.buyer.in_(buyers),
            )
            .distinct()
        )
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            return set((await connection.execute(statement)).scalars())

    async def open_quarantine_count(self) -> int:
        """Events in quarantine that nobody has resolved."""
        statement = select(func.count()).where(quarantine.c.resolved_at_ms.is_(None))
        async with reading(self._engine) as connection:
            return int((await connection.execute(statement)).scalar_one())

    async def commands(
        self, shard: int, since_ms: int, after_seq: int, limit: int
    ) -> list[CommandTrace]:
        """A page of what idempotent commands did since a time, in order of seq."""
        statement = (
            select(journal.c.seq, journal.c.at_ms, journal.c.kind, journal.c.payload)
            .where(
                journal.c.shard == shard,
                journal.c.seq > after_seq,
                journal.c.kind.in_(_COMMAND_KINDS),
                journal.c.at_ms >= since_ms,
            )
            .order_by(journal.c.seq)
            .limit(limit)
        )
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            return [_command(row) for row in await connection.execute(statement)]


_COMMAND_KINDS: Final[list[ColumnElement[str]]] = [
    literal_column("'adjusted'"),
    literal_column("'returned'"),
]
"""Written out: SQLite uses a partial index only for a condition it can read."""
_LEFT_THE_POOL: Final = 2
_POOLS: Final[Select[Any]] = select(pools, cursors.c.seq.label("seq")).join(
    cursors, cursors.c.shard == pools.c.shard
)


def _pool(row: Any) -> ReconcilablePool:
    available = row.total - row.held - row.sold - row.locked
    return ReconcilablePool(
        pool=row.id,
        seq=row.seq,
        rules=decode_rules({name: str(value) for name, value in row._asdict().items()}),
        counters=PoolCounters(row.total, available, row.held, row.sold, row.locked),
        oversell_allowance=row.oversell_allowance,
    )


def _command(row: Any) -> CommandTrace:
    pool, _, *fields = row.payload.split(FIELD_SEPARATOR)
    if row.kind == "adjusted":
        total_delta, locked_delta, digest = fields
        text = FIELD_SEPARATOR.join(("adjust", pool, total_delta, locked_delta))
    else:
        reservation, _, _, flags, digest, requested = fields
        out = ("out",) if int(flags) >= _LEFT_THE_POOL else ()
        text = FIELD_SEPARATOR.join(("return", reservation, requested, *out))
    return CommandTrace(row.seq, row.at_ms, digest, text)
