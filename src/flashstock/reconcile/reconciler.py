"""The reconciliation document, and the repair that follows from it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from flashstock.errors import Overloaded, UnknownPool, UnknownQuarantinedEvent
from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import QuarantinedEvent
from flashstock.reconcile.compare import REBUILD
from flashstock.reconcile.comparison import Comparison, Findings
from flashstock.reconcile.explain import explained, time_text
from flashstock.reconcile.lag import shard_document
from flashstock.reconcile.repair import Repair
from flashstock.reconcile.watch import LAST_ROUND

logger = logging.getLogger(__name__)


class Reconciler:
    """What ops ask for. Both methods raise ``Recovering`` or ``Unavailable`` if a store is away.

    Args:
        on_page: told what was found in a shard so far, page after page.
    """

    def __init__(
        self,
        store: HotStore,
        queries: Queries,
        proof: Proof,
        on_page: Callable[[Findings], None] = lambda found: None,  # noqa: ARG005 (nobody looks)
    ) -> None:
        self._store = store
        self._queries = queries
        self._proof = proof
        self._comparison = Comparison(store, queries, proof, on_page=on_page)
        self._repair = Repair(store, queries, proof)

    async def report(self) -> dict[str, Any]:
        """The document of ``GET /v1/ops/reconciliation``; ``ok`` says it all in one word."""
        found = [await self._comparison.findings(s) for s in range(self._store.shard_count)]
        shards = [
            await shard_document(self._store, self._proof, shard)
            for shard in range(self._store.shard_count)
        ]
        differences = [
            difference.document()
            for shard, one in enumerate(found)
            for difference in await explained(self._queries, shard, one.differences)
        ]
        lost = sum(one.lost for one in found)
        oversold = sum(one.oversold for one in found)
        invariants = {
            "pools_balance": not any(one.unbalanced_pools for one in found),
            "nothing_oversold": oversold == 0,
            "nothing_lost": lost == 0,
            "counters_are_sums": not any(one.wrong_sums for one in found),
            "seats_are_sums": not any(one.wrong_seats for one in found),
            "stores_agree": not any(one.differences_count for one in found),
            "nothing_in_quarantine": await self._proof.open_quarantine_count() == 0,
        }
        return {
            "at": time_text(time.time_ns() // 1_000_000),
            "ok": all(invariants.values()),
            "pools_checked": sum(one.pools_checked for one in found),
            "reservations_checked": sum(one.reservations_checked for one in found),
            "groups_checked": sum(one.groups_checked for one in found),
            "differences_count": sum(one.differences_count for one in found),
            "differences": differences,
            "oversold": oversold,
            "lost": lost,
            "lag_events": sum(shard["lag_events"] for shard in shards),
            "invariants": invariants,
            "shards": shards,
        }

    async def repair(self, *, dry_run: bool) -> dict[str, Any]:
        """Bring every differing pool back to what SQL says; running it again changes nothing more.

        A dry run says what would be written and writes nothing.
        """
        found = [await self._comparison.findings(s) for s in range(self._store.shard_count)]
        differing = sorted({pool for one in found for pool in one.pools_differing})
        pools, repaired = [], 0
        for pool in differing:
            try:
                document = await self._repair.pool(pool, dry_run=dry_run)
                pools.append(document)
                repaired += not dry_run and "remedy" not in document
            except UnknownPool:
                pools.append({"pool": pool, "remedy": REBUILD})
        return {"dry_run": dry_run, "pools": pools, "repaired": repaired}

    async def resolve(self, event_id: int) -> QuarantinedEvent:
        """Bring the event's pool back to what SQL says, and note that nothing else is left to do.

        In this order: as long as it is not resolved, nobody is told that what it tells of counts,
        though Redis still knows of it. The pool stays paused. Repeating it changes nothing more.

        Raises:
            UnknownQuarantinedEvent: there is none of that id.
            Overloaded: the pool could not be mended yet.
        """
        event = await self._quarantined(event_id)
        if event.resolved_at_ms is not None:
            return event
        try:
            mended = await self._repair.pool(event.pool, dry_run=False)
            if mended.get("remedy") == REBUILD:
                raise Overloaded(
                    f"groups of pool {event.pool!r} differ: rebuild its shard from SQL, then again"
                )
            if _would_write(await self._repair.pool(event.pool, dry_run=True)):
                raise Overloaded(
                    f"pool {event.pool!r} differs in more than one repair mends: again"
                )
        except UnknownPool:
            logger.info("quarantined event %d is of a pool that one store lacks", event_id)
        await self._queries.resolve_quarantined([event_id], time.time_ns() // 1_000_000)
        return await self._quarantined(event_id)

    async def _quarantined(self, event_id: int) -> QuarantinedEvent:
        event = await self._queries.quarantined_event(event_id)
        if event is None:
            raise UnknownQuarantinedEvent(f"there is no quarantined event {event_id}")
        return event

    async def last_round(self) -> dict[str, Any] | None:
        """What the service's own watch found last, if it runs; see ``watch``."""
        text = await self._queries.setting(LAST_ROUND)
        found: dict[str, Any] | None = None if text is None else json.loads(text)
        return found


def _would_write(document: dict[str, Any]) -> bool:
    return any(document[part] for part in ("counters", "reservations", "buyers", "rules"))
