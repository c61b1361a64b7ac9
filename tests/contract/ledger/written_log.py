"""A log as the scripts would write it, and a ledger to read it into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger import tables
from flashstock.ledger.apply import Applied, Cursor, Ledger
from flashstock.ledger.engine import reading
from flashstock.ledger.queries import Queries
from flashstock.model import events
from flashstock.model.events import Confirmed, Event, Held, Hold, LogEntry, Released, Returned
from flashstock.model.rules import PoolRules
from flashstock.model.states import ReservationState

POOL = "pool-1"
NOW_MS = 1_700_000_000_000
DEADLINE_MS = NOW_MS + 900_000
ORDER_SECRET = b"a secret of the tests"


def digest(number: int) -> str:
    return f"{number:016d}"


def reservation_id(number: int, pool: str = POOL) -> str:
    return f"{pool}~{digest(number)}"


def created(total: int = 100, locked: int = 0, pool: str = POOL) -> events.Configured:
    return events.Configured(pool, NOW_MS, PoolRules("sku-1"), True, total, locked)


def held(*numbers: int, quantity: int = 1, pool: str = POOL, at_ms: int = NOW_MS) -> Held:
    """One hold per number, of the buyer of that number."""
    holds = tuple(Hold(digest(n), f"buyer-{n}", quantity, "") for n in numbers)
    return Held(pool, at_ms, at_ms + 900_000, holds)


def released(
    state: ReservationState, *numbers: int, quantity: int = 1, at_ms: int = NOW_MS
) -> Released:
    parts = tuple(events.Release(digest(n), quantity) for n in numbers)
    return Released(POOL, at_ms, state, parts)


def cancelled(*numbers: int, quantity: int = 1, at_ms: int = NOW_MS) -> Released:
    return released(ReservationState.CANCELLED, *numbers, quantity=quantity, at_ms=at_ms)


def confirmed(
    number: int,
    *,
    quantity: int = 1,
    before: ReservationState = ReservationState.HELD,
    payment_ref: str = "",
    order_index: int = 0,
    at_ms: int = NOW_MS,
) -> Confirmed:
    payment = payment_ref or f"payment-{number}"
    buyer = f"buyer-{number}"
    index = order_index or number
    return Confirmed(POOL, at_ms, digest(number), before, quantity, buyer, payment, index)


def refund_due(number: int, *, payment_ref: str, quantity: int = 1) -> events.RefundDue:
    return events.RefundDue(POOL, NOW_MS, digest(number), quantity, f"buyer-{number}", payment_ref)


def returned(number: int, quantity: int, in_all: int, *, complete: bool) -> Returned:
    return Returned(
        POOL, NOW_MS, digest(number), quantity, in_all, complete, f"command-{in_all}", quantity
    )


class Log:
    """Numbers events as the scripts of one shard do."""

    def __init__(self, shard: int = 0, generation: int = 1, seq: int = 0) -> None:
        self.shard = shard
        self.generation = generation
        self.seq = seq

    def entry(self, event: Event) -> LogEntry:
        kind, payload = events.encode(event)
        return self.raw(kind, payload, events.events_in(event))

    def raw(self, kind: str, payload: str, count: int = 1) -> LogEntry:
        """An entry that holds whatever it is told to."""
        first = self.seq + 1
        self.seq += count
        return LogEntry(self.shard, self.generation, first, count, kind, payload, f"{first}-0")

    def entries(self, *written: Event) -> list[LogEntry]:
        return [self.entry(event) for event in written]


@dataclass
class Book:
    """A ledger whose cursor moves on by itself."""

    engine: AsyncEngine
    ledger: Ledger
    queries: Queries
    log: Log
    cursor: Cursor

    async def apply(self, entries: Sequence[LogEntry]) -> Applied:
        applied = await self.ledger.apply(self.cursor, entries)
        self.cursor = applied.cursor
        return applied

    async def write(self, *written: Event) -> Applied:
        """Apply these events as one batch."""
        return await self.apply(self.log.entries(*written))

    async def follow(self, entries: Sequence[LogEntry], sizes: Sequence[int]) -> None:
        """Apply a whole log in batches of these sizes, over and over; all of it fits."""
        left, size = list(entries), cycle(sizes)
        while left:
            batch = left[: next(size)]
            applied = await self.apply(batch)
            assert applied.quarantined == ()
            del left[: len(batch)]

    async def rows(self, table: str) -> list[Any]:
        """Every row of a table, in the order of its key."""
        found = tables.metadata.tables[table]
        async with reading(self.engine) as connection:
            statement = select(found).order_by(*found.primary_key.columns)
            return list((await connection.execute(statement)).all())

    async def states(self) -> dict[str, str]:
        """The digest's number and the state of every reservation."""
        rows = await self.rows("reservations")
        return {row.id.rpartition("~")[2].lstrip("0") or "0": row.state for row in rows}

    async def units(self, pool: str = POOL) -> tuple[int, int, int, int]:
        """(total, held, sold, locked), having checked that they are the sums of what they count."""
        stored = await self.queries.pool(pool)
        assert stored is not None
        sums = await self.queries.pool_sums(self.log.shard, pool)
        assert [one.agree() for one in sums] == [True]
        counters = stored.counters
        return counters.total, counters.held, counters.sold, counters.locked
