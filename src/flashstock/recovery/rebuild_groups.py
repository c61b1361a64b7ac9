"""Writing the groups of a shard of Redis from SQL: with their seats, and every list they are in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, Final, Protocol

from flashstock.hotpath import keys
from flashstock.ledger.group_queries import StoredGroup
from flashstock.ledger.stored import BuyerTotal, RetainedReservation
from flashstock.model.group_fold import PENDING
from flashstock.model.group_records import (
    group_of_cart,
    open_score,
    paid_member,
    pending_member,
)
from flashstock.model.ids import DIGEST_LENGTH, FIELD_SEPARATOR
from flashstock.model.states import GroupState
from flashstock.recovery.read_ahead import read_ahead

GROUPS_PAGE: Final = 100
SEATS_PAGE: Final = 2_000
_PENDING: Final = frozenset(state.value for state in PENDING)

WriteSeats = Callable[[Sequence[RetainedReservation]], Awaitable[None]]
"""Writes the records of some reservations and what else is kept of each."""


class GroupBook(Protocol):
    """What this needs of SQL."""

    async def retained_groups(
        self, shard: int, after_id: str, limit: int, since_ms: int
    ) -> Sequence[StoredGroup]: ...

    async def live_seats(
        self, digests: Sequence[str], after: tuple[str, str], limit: int
    ) -> Sequence[RetainedReservation]: ...

    def buyer_groups(self, pool: str, page: int) -> AsyncGenerator[Sequence[BuyerTotal], None]: ...


class Writes(Protocol):
    """As ``rebuild.FencedWrites``."""

    def put(self, command: str, key: str, *arguments: Any) -> None: ...

    async def flush(self) -> None: ...


class Lease(Protocol):
    async def renew(self) -> None: ...


class GroupRebuilder:
    """Writes the groups of one shard. Memory is bounded by a page of groups with their buyers."""

    def __init__(self, book: GroupBook, shard: int, writes: Writes, lease: Lease) -> None:
        self._book = book
        self._shard = shard
        self._writes = writes
        self._lease = lease
        self._open: Counter[str] = Counter()

    async def rebuild(self, since_ms: int, retention_ms: int, write_seats: WriteSeats) -> None:
        """Write every group that has seats to settle, or was settled since then.

        A seat is remembered as long as its group, so ``write_seats`` is told of each, however
        long ago it was paid.
        """
        after = ""
        while page := await self._book.retained_groups(self._shard, after, GROUPS_PAGE, since_ms):
            for group in page:
                self._put_group(group, retention_ms)
            await self._seats({group.id: group for group in page}, write_seats)
            await self._lease.renew()
            await self._writes.flush()
            after = page[-1].id
        for pool, count in self._open.items():
            self._writes.put("HSET", keys.pool(self._shard, pool), "groups_open", count)
        await self._writes.flush()

    async def buyers(self, pool: str) -> None:
        """Write in how many groups of a pool each buyer is."""
        totals = self._book.buyer_groups(pool, SEATS_PAGE)
        async with aclosing(read_ahead(totals)) as pages:
            async for page in pages:
                counts = ((f"{FIELD_SEPARATOR}{buyer}", count) for buyer, count in page)
                self._writes.put(
                    "HSET", keys.group_seats(self._shard, pool), *chain.from_iterable(counts)
                )
                await self._lease.renew()
                await self._writes.flush()

    def _put_group(self, group: StoredGroup, retention_ms: int) -> None:
        shard, pool, digest, record = self._shard, group.pool, group.digest, group.record()
        self._writes.put("HSET", keys.groups(shard), digest, record.pack())
        at_ms = group.deadline_ms
        if record.state is GroupState.OPEN:
            self._open[pool] += 1
            if record.missing > 0:
                score = open_score(record.missing, record.deadline_ms)
                self._writes.put("ZADD", keys.open_groups(shard, pool), score, digest)
        elif group.unsettled:
            at_ms = group.settled_at_ms or group.updated_at_ms
        else:
            at_ms = group.updated_at_ms + retention_ms
        self._writes.put("ZADD", keys.group_deadlines(shard, pool), at_ms, digest)
        self._writes.put("ZADD", keys.due(shard), "LT", at_ms, pool)

    async def _seats(self, groups: dict[str, StoredGroup], write_seats: WriteSeats) -> None:
        members: dict[str, list[Any]] = defaultdict(list)
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        async for page in self._pages([group.digest for group in groups.values()]):
            mine = []
            for row in page:
                group = group_of_cart(row.cart)
                if f"{row.pool}~{group}" not in groups:
                    continue  # a namesake's
                mine.append(row)
                members[row.pool] += (0, _member(group, row))
                counts[row.pool][f"{group}{FIELD_SEPARATOR}{row.buyer}"] += 1
            for pool, scored in members.items():
                self._writes.put("ZADD", keys.group_members(self._shard, pool), *scored)
            members.clear()
            if mine:
                await write_seats(mine)
        for pool, seats in counts.items():
            flat = [*chain.from_iterable(seats.items())]
            for start in range(0, len(flat), 2 * SEATS_PAGE):
                part = flat[start : start + 2 * SEATS_PAGE]
                self._writes.put("HSET", keys.group_seats(self._shard, pool), *part)

    async def _pages(self, digests: Sequence[str]) -> AsyncIterator[Sequence[RetainedReservation]]:
        after = ("", "")
        while page := await self._book.live_seats(digests, after, SEATS_PAGE):
            yield page
            after = (page[-1].cart, page[-1].id)


def _member(group: str, row: RetainedReservation) -> str:
    digest = row.id[-DIGEST_LENGTH:]
    if row.state in _PENDING:
        return pending_member(group, row.seq, digest)
    return paid_member(group, row.order_index, digest)
