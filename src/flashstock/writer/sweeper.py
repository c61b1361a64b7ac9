"""The sweeper: ends what time has ended. Exactness does not depend on it, tidiness does."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from flashstock.errors import FlashstockError
from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.store import HotStore

logger = logging.getLogger(__name__)

BATCH_MAX: Final = 8
"""Batches (of at most 128 holds) ended in one script call: about 2 ms of server time."""
POOLS_MAX: Final = 100
"""Pools looked at per shard and round."""


class Sweeper:
    """Visits the pools whose next moment has come; idle pools cost nothing.

    ``due`` is ordered by time, so one look at its head finds them all.
    """

    def __init__(self, store: HotStore, interval_ms: int) -> None:
        self._store = store
        self._interval_s = interval_ms / 1000
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask ``run`` to end after the script call in flight."""
        self._stopping.set()

    async def run(self) -> None:
        """Sweep until ``stop``; a failure costs one round."""
        while not self._stopping.is_set():
            more = False
            for shard in range(self._store.shard_count):
                try:
                    more |= await self.sweep(shard)
                except FlashstockError as failure:
                    logger.debug("shard %d is not swept now: %s", shard, failure)
            if not more:
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._stopping.wait()
                except TimeoutError:
                    continue

    async def sweep(self, shard: int) -> bool:
        """One bounded round over a shard; ``True`` if there is more to do at once."""
        if self._store.generation(shard) is None:
            return False
        client = self._store.clients[shard]
        with translated_failures():
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.zrange(keys.due(shard), 0, POOLS_MAX - 1, withscores=True)
                (seconds, microseconds), waiting = await pipeline.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        due = [pool.decode() for pool, at_ms in waiting if at_ms <= now_ms]
        more = len(due) == POOLS_MAX
        for pool in due:
            _, next_due_ms = await self._store.expire(pool, BATCH_MAX)
            more |= 0 < next_due_ms <= now_ms
        return more
