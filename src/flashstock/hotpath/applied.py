"""Waiting until the writer has committed: "applied up to seq n"."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from flashstock.errors import Recovering, Unavailable


class AppliedTracker:
    """Knows, per shard, how far SQL has followed the log, and wakes whoever waits for that.

    Sequence numbers mean something within one generation only: when a shard is opened under a
    new one, everybody who waited under the old one is sent away to retry.
    """

    def __init__(self, shard_count: int, timeout_ms: int) -> None:
        self.shard_count = shard_count
        self._generation = [""] * shard_count
        self._applied = [0] * shard_count
        self._waiting: list[list[tuple[int, int, asyncio.Future[None]]]] = [
            [] for _ in range(shard_count)
        ]
        self._timeout_s = timeout_ms / 1000
        self._tickets = count()

    def open_shard(self, shard: int, generation: str, seq: int) -> None:
        """Start counting for a (new) generation from what is committed already."""
        if generation != self._generation[shard]:
            self.close_shard(shard)
            self._generation[shard] = generation
            self._applied[shard] = 0
        self.announce(shard, generation, seq)

    def close_shard(self, shard: int) -> None:
        """Send everybody away with ``Recovering``: the same key finds out what became of them."""
        self._generation[shard] = ""
        waiting, self._waiting[shard] = self._waiting[shard], []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(Recovering())

    def announce(self, shard: int, generation: str, seq: int) -> None:
        """Everything up to ``seq`` is committed. Older or repeated news changes nothing."""
        if generation != self._generation[shard] or seq <= self._applied[shard]:
            return
        self._applied[shard] = seq
        waiting = self._waiting[shard]
        while waiting and waiting[0][0] <= seq:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)

    def applied(self, shard: int) -> int:
        """The last sequence number known to be committed."""
        return self._applied[shard]

    def waiting(self) -> int:
        """How many batches wait for a commit right now."""
        return sum(len(waiting) for waiting in self._waiting)

    async def wait(self, shard: int, generation: str, seq: int) -> None:
        """Return once ``seq`` of that generation is committed.

        Raises:
            Recovering: the shard has been opened under another generation since.
            Unavailable: not within the time allowed; what was decided stands in the log.
        """
        if generation != self._generation[shard]:
            raise Recovering
        if seq <= self._applied[shard]:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting[shard], (seq, next(self._tickets), future))
        try:
            async with asyncio.timeout(self._timeout_s):
                await future
        except TimeoutError:
            raise Unavailable("the ledger did not commit in time") from None
