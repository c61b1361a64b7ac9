"""Comparing the two stores while the sale goes on, in bounded memory.

Both stores are read page by page. Counters are compared with the events in flight between the two
readings taken into account. A reservation that looks different is looked at again once the
writer has passed the point at which it was read: what is still different then is a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from flashstock.errors import Overloaded, UnknownPool
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof, ReconcilablePool
from flashstock.ledger.queries import Queries
from flashstock.model import events
from flashstock.model.fold import FoldViolation
from flashstock.model.ids import parse_reservation_id
from flashstock.model.records import ReservationRecord
from flashstock.reconcile import compare
from flashstock.reconcile.compare import Difference
from flashstock.reconcile.groups import GroupComparison
from flashstock.reconcile.settling import Look, sorted_out

PAGE: Final = 500
DIFFERENCES_SHOWN_MAX: Final = 100
LAG_ENTRIES_MAX: Final = 20_000
"""Log entries in flight that are looked through; beyond it the writer's lag is the finding."""


@dataclass(slots=True)
class Findings:
    """What a reconciliation has found so far; grows by counters, not by rows."""

    pools_checked: int = 0
    reservations_checked: int = 0
    groups_checked: int = 0
    differences: list[Difference] = field(default_factory=list)
    differences_count: int = 0
    oversold: int = 0
    lost: int = 0
    unbalanced_pools: int = 0
    wrong_sums: int = 0
    wrong_seats: int = 0
    """Groups whose seats in SQL are not what their reservations add up to."""
    pools_differing: set[str] = field(default_factory=set)
    """Bounded by the number of pools."""
    pools_broken: dict[str, str] = field(default_factory=dict)
    """Pools that break an invariant by themselves, and how. No event in flight explains that."""

    def add(self, differences: Iterable[Difference]) -> None:
        for difference in differences:
            self.differences_count += 1
            self.pools_differing.add(difference.pool)
            if difference.kind == "missing":
                self.lost += 1
            if len(self.differences) < DIFFERENCES_SHOWN_MAX:
                self.differences.append(difference)


class Comparison:
    """Compares the two stores of one data set, shard by shard.

    Args:
        on_page: told what was found so far, page after page.
    """

    def __init__(
        self,
        store: HotStore,
        queries: Queries,
        proof: Proof,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_page: Callable[[Findings], None] = lambda found: None,  # noqa: ARG005 (nobody looks)
    ) -> None:
        self._store = store
        self._queries = queries
        self._proof = proof
        self._sleep = sleep
        self._on_page = on_page
        self.groups = GroupComparison(store, queries, proof, sleep)

    async def findings(self, shard: int) -> Findings:
        """Everything that differs in one shard right now."""
        found = Findings()
        await self._compare_pools(shard, found)
        await self._compare_from_ledger(shard, found)
        await self._compare_from_store(shard, found)
        found.wrong_sums = await self._wrong_sums(shard)
        found.groups_checked, differences = await self.groups.differences(shard)
        found.add(differences)
        found.wrong_seats = len(await self._queries.group_sums(shard))
        return found

    async def _compare_pools(self, shard: int, found: Findings) -> None:
        after = ""
        while pools := await self._proof.pools(shard, after, PAGE):
            for ledger in pools:
                found.pools_checked += 1
                found.add(await self.compare_pool(shard, ledger, found))
            self._on_page(found)
            after = pools[-1].pool

    async def compare_pool(
        self, shard: int, ledger: ReconcilablePool, found: Findings
    ) -> Sequence[Difference]:
        """What differs in a pool now, the events in flight taken into account.

        Raises:
            Overloaded: what is in flight is too much, or can't be applied: no verdict yet.
        """
        try:
            snapshot = await self._store.snapshot(ledger.pool)
        except UnknownPool:
            return [Difference("missing_pool", ledger.pool, "pool", "known", None, compare.REBUILD)]
        if not snapshot.counters.balanced():
            found.unbalanced_pools += 1
            found.pools_broken[ledger.pool] = "its counters don't add up"
        allowance = ledger.oversell_allowance
        oversold = max(
            compare.oversold_units(ledger.counters, allowance),
            compare.oversold_units(snapshot.counters, allowance),
        )
        if oversold:
            found.oversold += oversold
            found.pools_broken[ledger.pool] = f"{oversold} units are oversold"
        change = None
        if snapshot.seq > ledger.seq:
            try:
                entries = await self._in_flight(shard, ledger.seq, snapshot.seq)
                change = compare.in_flight(entries, ledger.seq, snapshot.seq).get(ledger.pool)
            except (FoldViolation, events.MalformedEntry) as problem:
                raise Overloaded(f"an event on its way to quarantine: {problem}") from problem
        return compare.compare_pool(ledger, change, snapshot.rules, snapshot.counters)

    async def _in_flight(
        self, shard: int, after_seq: int, up_to_seq: int
    ) -> list[tuple[events.LogEntry, events.Event]]:
        log = ShardLog(self._store.clients[shard], shard)
        entries = await log.between(after_seq, up_to_seq, LAG_ENTRIES_MAX)
        return [(entry, events.decode(entry)) for entry in entries]

    async def _compare_from_ledger(self, shard: int, found: Findings) -> None:
        """Every hold that SQL acknowledges by now must be known to Redis."""
        after, up_to_seq = "", await self._proof.cursor_seq(shard)
        while rows := await self._queries.open_reservations(shard, after, PAGE, up_to_seq):
            found.reservations_checked += len(rows)
            ledger = {row.id: row.record() for row in rows}
            digests = [row.id.partition("~")[2] for row in rows]
            reply = await self._store.lookup(shard, digests)
            store = dict(zip(ledger, reply.records, strict=True))
            await self._settle(shard, ledger, store, reply.seq, found)
            after = rows[-1].id

    async def _compare_from_store(self, shard: int, found: Findings) -> None:
        """Everything Redis remembers must be what SQL recorded."""
        position = 0
        while True:
            position, page = await self._store.scan_reservations(shard, position, PAGE)
            digests = list(page)
            for start in range(0, len(digests), PAGE):
                await self._compare_digests(shard, digests[start : start + PAGE], found)
            if position == 0:
                return

    async def _compare_digests(self, shard: int, digests: list[str], found: Findings) -> None:
        reply = await self._store.lookup(shard, digests)
        store: dict[str, ReservationRecord | None] = {
            f"{record.pool}~{digest}": record
            for digest, record in zip(digests, reply.records, strict=True)
            if record is not None
        }
        found.reservations_checked += len(store)
        ledger = await self._ledger_records(store)
        await self._settle(shard, ledger, store, reply.seq, found)

    async def _ledger_records(self, ids: Iterable[str]) -> dict[str, ReservationRecord]:
        rows = await self._queries.reservations_by_ids(list(ids))
        return {row.id: row.record() for row in rows}

    async def _settle(
        self,
        shard: int,
        ledger: dict[str, ReservationRecord],
        store: dict[str, ReservationRecord | None],
        seq: int,
        found: Findings,
    ) -> None:
        found.add(chain(*await self._sorted_out(shard, ledger, store, seq)))
        self._on_page(found)

    async def look_at(
        self, shard: int, ids: Sequence[str]
    ) -> tuple[list[Difference], list[Difference]]:
        """What is wrong with these reservations: (certainly, perhaps only on its way to SQL)."""
        ledger = await self._ledger_records(ids)
        reply = await self._store.lookup(shard, [one.partition("~")[2] for one in ids])
        store = dict(zip(ids, reply.records, strict=True))
        return await self._sorted_out(shard, ledger, store, reply.seq)

    async def _sorted_out(
        self,
        shard: int,
        ledger: dict[str, ReservationRecord],
        store: dict[str, ReservationRecord | None],
        seq: int,
    ) -> tuple[list[Difference], list[Difference]]:
        async def look_again(subjects: list[str]) -> Look:
            ledger = await self._ledger_records(subjects)
            reply = await self._store.lookup(shard, [one.partition("~")[2] for one in subjects])
            again = dict(zip(subjects, reply.records, strict=True))
            return Look(again, reply.seq, _differing(ledger, again))

        first = Look(store, seq, _differing(ledger, store))
        return await sorted_out(
            first, look_again, lambda: self._proof.cursor_seq(shard), self._sleep
        )

    async def _wrong_sums(self, shard: int) -> int:
        """Pools whose SQL counters are not the sum of their reservations."""
        return sum(not sums.agree() for sums in await self._queries.pool_sums(shard))


def _differing(
    ledger: dict[str, ReservationRecord], store: dict[str, ReservationRecord | None]
) -> list[Difference]:
    ids = ledger.keys() | store.keys()
    compared = (
        compare.compare_reservation(reservation_id, ledger.get(reservation_id), store_record)
        for reservation_id in sorted(ids)
        if (store_record := _of_pool(reservation_id, store.get(reservation_id))) is not None
        or reservation_id in ledger
    )
    return [difference for difference in compared if difference is not None]


def _of_pool(reservation_id: str, record: ReservationRecord | None) -> ReservationRecord | None:
    """A digest alone may name another pool's record."""
    target = parse_reservation_id(reservation_id)
    if record is None or target is None or record.pool != target.pool:
        return None
    return record
