"""The watch: reconciliation that never ends, a bounded piece of it each round.

Every round compares all pools' counters, looks again at whatever looked wrong before, and reads
on through the reservations, where the round before left off. What is plainly wrong once SQL has
everything pauses its pool; what is merely on its way from Redis to SQL never does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flashstock.errors import Overloaded, UnknownPool
from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof, ReconcilablePool
from flashstock.ledger.queries import Queries
from flashstock.model.states import PoolState
from flashstock.reconcile.compare import Difference
from flashstock.reconcile.comparison import DIFFERENCES_SHOWN_MAX, PAGE, Comparison, Findings
from flashstock.reconcile.explain import explained, time_text
from flashstock.reconcile.groups import PAGE as GROUPS_PAGE
from flashstock.reconcile.lag import shard_document
from flashstock.rounds import costs_one_round

LAST_ROUND: Final = "reconciliation"
"""The name under which SQL keeps what the service's own watch found last."""
INTERVAL_S: Final = 15.0
RESERVATIONS_PER_ROUND: Final = 5_000
SUSPECTS_MAX: Final = 1_000
GROUPS_PER_ROUND: Final = 500
LOOKS: Final = 3
"""A pool that differs is looked at again: only what differs every time is a breach."""
LOOK_PAUSE_S: Final = 0.2
REASON_LENGTH_MAX: Final = 300

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ShardProgress:
    """How far the watch has come in one shard's reservations, and what it must look at again."""

    generation: str | None = None
    in_store: bool = False
    """Which half of the cycle: SQL's holds, then what Redis remembers."""
    after: str = ""
    up_to_seq: int = 0
    """Up to where SQL had followed the log as the cycle began: of later holds there is no end."""
    position: int = 0
    cycles: int = 0
    suspects: dict[str, None] = field(default_factory=dict)
    """Reservations that looked wrong, at most ``SUSPECTS_MAX``; each round looks again."""
    sums_after: str = ""
    wrong_sums: set[str] = field(default_factory=set)
    groups_after: str = ""
    """How far it has come in SQL's groups that are not settled."""
    wrong_seats: set[str] = field(default_factory=set)
    """Pools of groups whose seats in SQL are not the sum of their reservations."""


class Watch:
    """One watcher of one data set. Several at once are harmless: they only pause pools.

    Args:
        reservations_max: reservations read per round and shard, suspects apart.
    """

    def __init__(
        self,
        store: HotStore,
        queries: Queries,
        proof: Proof,
        *,
        reservations_max: int = RESERVATIONS_PER_ROUND,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._queries = queries
        self._proof = proof
        self._comparison = Comparison(store, queries, proof, sleep)
        self._reservations_max = reservations_max
        self._sleep = sleep
        self._progress = [ShardProgress() for _ in range(store.shard_count)]
        self._rounds = 0

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Round after round until cancelled; what each found is kept in SQL for the metrics."""
        while True:
            with costs_one_round(logger, "no reconciliation this time"):
                found = await self.round()
                await self._queries.put_setting(LAST_ROUND, json.dumps(found))
            await self._sleep(interval_s)

    async def round(self) -> dict[str, Any]:
        """One round over all shards: what ``GET /v1/ops/reconciliation`` says, and ``paused``.

        Raises:
            Recovering, Unavailable: a store is away; the next round goes on from here.
        """
        self._rounds += 1
        found, differences, paused = [], [], []
        for shard in range(self._store.shard_count):
            one, unsettled = await self._shard(shard)
            found.append((one, unsettled))
            shown = await explained(self._queries, shard, one.differences)
            differences += [difference.document() for difference in shown]
            paused += await self._pause_broken(one)
        shards = [
            await shard_document(self._store, self._proof, shard)
            for shard in range(self._store.shard_count)
        ]
        findings = [one for one, _ in found]
        lost = sum(one.lost for one in findings)
        oversold = sum(one.oversold for one in findings)
        invariants = {
            "pools_balance": not any(one.unbalanced_pools for one in findings),
            "nothing_oversold": oversold == 0,
            "nothing_lost": lost == 0,
            "counters_are_sums": not any(progress.wrong_sums for progress in self._progress),
            "seats_are_sums": not any(progress.wrong_seats for progress in self._progress),
            "stores_agree": not any(one.differences_count for one in findings),
            "nothing_in_quarantine": await self._proof.open_quarantine_count() == 0,
        }
        return {
            "at": time_text(time.time_ns() // 1_000_000),
            "ok": all(invariants.values()),
            "round": self._rounds,
            "cycles": min(progress.cycles for progress in self._progress),
            "pools_checked": sum(one.pools_checked for one in findings),
            "reservations_checked": sum(one.reservations_checked for one in findings),
            "groups_checked": sum(one.groups_checked for one in findings),
            "differences_count": sum(one.differences_count for one in findings),
            "differences": differences[:DIFFERENCES_SHOWN_MAX],
            "unsettled": sum(unsettled for _, unsettled in found),
            "oversold": oversold,
            "lost": lost,
            "lag_events": sum(shard["lag_events"] for shard in shards),
            "paused": paused,
            "invariants": invariants,
            "shards": shards,
        }

    async def _shard(self, shard: int) -> tuple[Findings, int]:
        """One shard's findings, and how many subjects the writer's lag leaves without a verdict."""
        generation = self._store.generation(shard)
        progress = self._progress[shard]
        if progress.generation != generation:
            progress = self._progress[shard] = ShardProgress(generation, cycles=progress.cycles)
        found = Findings()
        unsettled = await self._pools(shard, found)
        unsettled += await self._suspects(shard, progress, found)
        if not unsettled:  # else the writer is late, and more would only wait for it again
            unsettled = await self._read_on(shard, progress, found)
            unsettled += await self._groups(shard, progress, found)
        await self._sums(shard, progress)
        if self._store.generation(shard) != generation:
            return Findings(), 0  # recovered meanwhile: two data sets were compared
        return found, unsettled

    async def _pools(self, shard: int, found: Findings) -> int:
        unsettled = 0
        after = ""
        while pools := await self._proof.pools(shard, after, PAGE):
            for ledger in pools:
                found.pools_checked += 1
                unsettled += await self._pool(shard, ledger, found)
            after = pools[-1].pool
        return unsettled

    async def _pool(self, shard: int, ledger: ReconcilablePool, found: Findings) -> bool:
        """Compare one pool; ``True`` where there is no verdict yet."""
        seen = Findings()
        differences: Sequence[Difference] = ()
        for look in range(LOOKS):
            if look:
                await self._sleep(LOOK_PAUSE_S)
                again = await self._proof.pool(ledger.pool)
                if again is None:
                    return True
                ledger = again
            seen = Findings()
            try:
                differences = await self._comparison.compare_pool(shard, ledger, seen)
            except Overloaded:
                return True
            if not (differences or seen.pools_broken):
                return False
        found.add(differences)
        found.oversold += seen.oversold
        found.unbalanced_pools += seen.unbalanced_pools
        found.pools_broken |= {difference.pool: _reason(difference) for difference in differences}
        found.pools_broken |= seen.pools_broken
        return False

    async def _suspects(self, shard: int, progress: ShardProgress, found: Findings) -> int:
        unsettled = 0
        ids = list(progress.suspects)
        for start in range(0, len(ids), PAGE):
            unsettled += await self._look(shard, ids[start : start + PAGE], progress, found)
        return unsettled

    async def _look(
        self, shard: int, ids: list[str], progress: ShardProgress, found: Findings
    ) -> int:
        """Compare these reservations, remember those that differ; how many have no verdict yet."""
        found.reservations_checked += len(ids)
        certain, unsettled = await self._comparison.look_at(shard, ids)
        wrong = {difference.subject for difference in (*certain, *unsettled)}
        for reservation_id in ids:
            if reservation_id not in wrong:
                progress.suspects.pop(reservation_id, None)
            elif len(progress.suspects) < SUSPECTS_MAX:
                progress.suspects[reservation_id] = None
        found.add(certain)
        for difference in certain:
            found.pools_broken[difference.pool] = _reason(difference)
        return len(unsettled)

    async def _read_on(self, shard: int, progress: ShardProgress, found: Findings) -> int:
        """The next reservations, at most one whole cycle; how many have no verdict yet."""
        left = self._reservations_max
        while left > 0:
            count = min(PAGE, left)
            if not progress.in_store:
                if not progress.after:
                    progress.up_to_seq = await self._proof.cursor_seq(shard)
                rows = await self._queries.open_reservations(
                    shard, progress.after, count, progress.up_to_seq
                )
                ids = [row.id for row in rows]
                progress.in_store = not ids
                progress.after = ids[-1] if ids else ""
            else:
                progress.position, page = await self._store.scan_reservations(
                    shard, progress.position, count
                )
                ids = [f"{record.pool}~{digest}" for digest, record in page.items()]
                progress.in_store = progress.position != 0
                progress.cycles += not progress.in_store
            for start in range(0, len(ids), PAGE):
                fresh = [one for one in ids[start : start + PAGE] if one not in progress.suspects]
                if fresh and (unsettled := await self._look(shard, fresh, progress, found)):
                    return unsettled
            left -= max(1, len(ids))
            if not progress.in_store and not progress.after:
                break
        return 0

    async def _groups(self, shard: int, progress: ShardProgress, found: Findings) -> int:
        """The next groups; how many have no verdict yet."""
        unsettled, left = 0, GROUPS_PER_ROUND
        while left > 0:
            ids = await self._comparison.groups.unsettled(shard, progress.groups_after, GROUPS_PAGE)
            found.groups_checked += len(ids)
            certain, perhaps = await self._comparison.groups.look_at(shard, ids)
            found.add(certain)
            for difference in certain:
                found.pools_broken[difference.pool] = _reason(difference)
            unsettled += len(perhaps)
            progress.groups_after = ids[-1] if len(ids) == GROUPS_PAGE else ""
            left -= len(ids)
            if not progress.groups_after:
                break
        return unsettled

    async def _sums(self, shard: int, progress: ShardProgress) -> None:
        """One pool a round: are its counters in SQL the sums of its reservations?"""
        pools = await self._proof.pools(shard, progress.sums_after, 1)
        progress.sums_after = pools[0].pool if pools else ""
        for name in {progress.sums_after, *progress.wrong_sums} - {""}:
            sums = await self._queries.pool_sums(shard, name)
            if all(one.agree() for one in sums):
                progress.wrong_sums.discard(name)
            else:
                progress.wrong_sums.add(name)
        for name in {progress.sums_after, *progress.wrong_seats} - {""}:
            if await self._queries.group_sums(shard, name):
                progress.wrong_seats.add(name)
            else:
                progress.wrong_seats.discard(name)

    async def _pause_broken(self, found: Findings) -> list[dict[str, str]]:
        """Stop selling what can't be trusted; its holds can still be paid. A person resumes it."""
        paused = []
        for pool, why in sorted(found.pools_broken.items()):
            reason = " ".join(f"reconciliation: {why}".split())[:REASON_LENGTH_MAX]
            try:
                snapshot = await self._store.snapshot(pool)
                if snapshot.rules.state is not PoolState.OPEN:
                    continue
                await self._store.configure(
                    pool, {"state": PoolState.PAUSED.value}, created=None, reason=reason
                )
            except UnknownPool:
                continue  # what is not there sells nothing
            logger.error("pool %r is paused: %s", pool, reason)
            paused.append({"pool": pool, "reason": reason})
        return paused


def _reason(difference: Difference) -> str:
    return (
        f"{difference.kind} {difference.subject}: Redis says {difference.store},"
        f" SQL {difference.ledger}"
    )
