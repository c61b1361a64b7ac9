"""Mending one pool of Redis from SQL. SQL is never changed: it is the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from flashstock.errors import Overloaded, UnknownPool
from flashstock.hotpath.scripts import RepairStatus
from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof, ReconcilablePool
from flashstock.ledger.queries import Queries
from flashstock.model.events import encode_rules
from flashstock.reconcile.compare import REBUILD, compare_pool, compare_reservation
from flashstock.reconcile.groups import GroupComparison

ATTEMPTS_MAX: Final = 50
ATTEMPT_PAUSE_S: Final = 0.02
PAGE: Final = 500
CHANGES_MAX: Final = 1_000
"""Records and buyers written in one script call; the rest follows in the next."""


class Repair:
    """Writes a pool back only at the very log position at which it was compared.

    On a busy shard that position may pass before the write: the script then refuses, and the
    comparison is made again.
    """

    def __init__(self, store: HotStore, queries: Queries, proof: Proof) -> None:
        self._store = store
        self._queries = queries
        self._proof = proof
        self._groups = GroupComparison(store, queries, proof)

    async def pool(self, pool: str, *, dry_run: bool) -> dict[str, Any]:
        """Mend one pool, and say what was (or would be) written.

        Raises:
            Overloaded: the shard never stood still; pause the pool and try again.
        """
        for _ in range(ATTEMPTS_MAX):
            planned = await self._plan(pool)
            if planned is None:
                await asyncio.sleep(ATTEMPT_PAUSE_S)
                continue
            ledger, counters, records, buyers, rules_differ = planned
            if ledger.rules.group_buy and (records or await self._groups_differ(pool)):
                # A seat stands in lists of its group that only a rebuild writes anew.
                return {"pool": pool, "remedy": REBUILD}
            document = {
                "pool": pool,
                "counters": counters,
                "reservations": [digest for digest, _ in records],
                "buyers": [buyer for buyer, _ in buyers],
                "rules": rules_differ,
            }
            if dry_run or not (counters or records or buyers or rules_differ):
                return document
            if await self._write(ledger, records, buyers):
                if rules_differ:
                    await self._store.configure(pool, encode_rules(ledger.rules), created=None)
                return document
        raise Overloaded(f"pool {pool!r} is too busy to be repaired; pause it and try again")

    async def _plan(self, pool: str) -> tuple[ReconcilablePool, Any, Any, Any, bool] | None:
        """What to write, or ``None`` while events are in flight."""
        shard = self._store.shard_of(pool)
        snapshot = await self._store.snapshot(pool)
        ledger = await self._proof.pool(pool)
        if ledger is None:
            raise UnknownPool(f"SQL knows no pool {pool!r}", pool=pool)
        if ledger.seq != snapshot.seq:
            return None
        differences = compare_pool(ledger, None, snapshot.rules, snapshot.counters)
        counters = {d.subject: [d.store, d.ledger] for d in differences if d.kind == "counter"}
        rules_differ = any(difference.kind == "rules" for difference in differences)
        records = await self._wrong_records(shard, pool)
        buyers = await self._wrong_buyers(pool)
        return ledger, counters, records, buyers, rules_differ

    async def _groups_differ(self, pool: str) -> bool:
        shard = self._store.shard_of(pool)
        _, differences = await self._groups.differences(shard)
        return any(difference.pool == pool for difference in differences)

    async def _wrong_records(self, shard: int, pool: str) -> list[tuple[str, str]]:
        """(digest, what should be there), at most ``CHANGES_MAX``."""
        wrong: list[tuple[str, str]] = []
        after = f"{pool}~"
        while len(wrong) < CHANGES_MAX:
            rows = await self._queries.pool_reservations(pool, after, PAGE)
            if not rows:
                break
            reply = await self._store.lookup(shard, [row.id.partition("~")[2] for row in rows])
            for row, found in zip(rows, reply.records, strict=True):
                record = row.record()
                if compare_reservation(row.id, record, found) is not None:
                    wrong.append((row.id.partition("~")[2], record.pack()))
            after = rows[-1].id
        wrong += await self._unrecorded(shard, pool)
        return wrong[:CHANGES_MAX]

    async def _unrecorded(self, shard: int, pool: str) -> list[tuple[str, str]]:
        """Records of the pool that SQL has never heard of: to be forgotten."""
        wrong: list[tuple[str, str]] = []
        position = 0
        while len(wrong) < CHANGES_MAX:
            position, page = await self._store.scan_reservations(shard, position, PAGE)
            mine = {f"{pool}~{d}": d for d, record in page.items() if record.pool == pool}
            known = {row.id for row in await self._queries.reservations_by_ids(mine)}
            wrong += [(digest, "") for known_id, digest in mine.items() if known_id not in known]
            if position == 0:
                break
        return wrong

    async def _wrong_buyers(self, pool: str) -> list[tuple[str, int]]:
        """(buyer, units they should count for), at most ``CHANGES_MAX``."""
        wrong: list[tuple[str, int]] = []
        async with aclosing(self._queries.buyer_totals(pool, PAGE)) as pages:
            async for page in pages:
                found = await self._store.buyer_units(pool, [total.buyer for total in page])
                pairs = zip(page, found, strict=True)
                wrong += [(total.buyer, total.units) for total, u in pairs if u != total.units]
        position = 0
        while True:
            position, listed = await self._store.scan_buyers(pool, position, PAGE)
            wrong += await self._strangers(pool, list(listed))
            if position == 0:
                return wrong[:CHANGES_MAX]

    async def _strangers(self, pool: str, buyers: Sequence[str]) -> list[tuple[str, int]]:
        """Buyers that count for units in Redis and for none in SQL."""
        if not buyers:
            return []
        known = await self._proof.buyers_with_units(pool, buyers)
        return [(buyer, 0) for buyer in buyers if buyer not in known]

    async def _write(
        self,
        ledger: ReconcilablePool,
        records: Sequence[tuple[str, str]],
        buyers: Sequence[tuple[str, int]],
    ) -> bool:
        counters = ledger.counters
        arguments: list[Any] = [
            "reconciliation",
            counters.total,
            counters.available,
            counters.held,
            counters.sold,
            counters.locked,
            len(records),
        ]
        for digest, packed in records:
            arguments += [digest, packed]
        for buyer, units in buyers:
            arguments += [buyer, units]
        status, _ = await self._store.repair(ledger.pool, ledger.seq, arguments)
        return status is RepairStatus.REPAIRED
