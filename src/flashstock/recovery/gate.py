"""The gate: lets this process through to a shard only while it is the data set we know.

A marker script, loaded once per generation, stands for "this server has not been restarted,
demoted or flushed since": scripts live in memory only and are not replicated. Where the marker
is missing the data set is recovered under a new generation; where it is there, any process may
load its own scripts and go on.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from redis.asyncio import Redis

from flashstock.errors import FlashstockError
from flashstock.hotpath import keys
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.scripts import ScriptSet, script_set
from flashstock.hotpath.store import HotStore
from flashstock.ledger.apply import Cursor
from flashstock.recovery.recover import Recoverer

logger = logging.getLogger(__name__)

RETRY_DELAY_S: Final = 0.1


def marker_text(shard: int, generation: str) -> str:
    """A script nobody calls: its presence in the script cache is the message."""
    return f"return 'flashstock shard {shard} generation {generation}'"


async def load_scripts(client: Redis, scripts: ScriptSet) -> None:
    """Load every script of a set. Only ever called by whoever has verified the data set."""
    with translated_failures():
        async with client.pipeline(transaction=False) as pipeline:
            for text in scripts.texts.values():
                pipeline.script_load(text)
            await pipeline.execute()


@dataclass(frozen=True, slots=True)
class GateStatus:
    """What ops see of a shard's gate."""

    shard: int
    open: bool
    generation: str | None


class Gate:
    """Opens shards for one process, recovers them when nobody else does, and notices losses.

    Args:
        store: gets its shards opened and closed.
        client: the same server, for what precedes the scripts.
        recoverer: does the work under a lease in SQL.
        applied: told of generations, where this process waits for commits.
        retention_ms: part of the script text.
    """

    def __init__(
        self,
        store: HotStore,
        client: Redis,
        recoverer: Recoverer,
        applied: AppliedTracker | None,
        *,
        retention_ms: int,
    ) -> None:
        self._store = store
        self._client = client
        self._recoverer = recoverer
        self._applied = applied
        self._retention_ms = retention_ms
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._rebuild_wanted: set[int] = set()

    async def open_all(self) -> None:
        """Open every shard, recovering where needed. Waits as long as the stores are away."""
        for shard in range(self._store.shard_count):
            self.lost(shard)
        await asyncio.gather(*self._opening.values())

    def lost(self, shard: int) -> None:
        """The shard's data set is not the one we opened: close it and open it again."""
        self._close(shard)
        task = self._opening.get(shard)
        if task is None or task.done():
            self._opening[shard] = asyncio.get_running_loop().create_task(self._reopen(shard))

    def rebuild(self, shard: int) -> None:
        """Rebuild the shard from SQL whatever its log says, then open it."""
        self._rebuild_wanted.add(shard)
        self.lost(shard)

    async def opened(self, shard: int) -> None:
        """Wait until the shard is open, if it is being opened."""
        task = self._opening.get(shard)
        if task is not None:
            await asyncio.shield(task)

    async def stop(self) -> None:
        """Give up opening; a recovery that was cut off is taken over by the next process."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    def _close(self, shard: int) -> None:
        self._store.close_shard(shard)
        if self._applied is not None:
            self._applied.close_shard(shard)

    async def _reopen(self, shard: int) -> None:
        quiet = False
        while True:
            try:
                cursor = await self._open_or_recover(shard)
            except FlashstockError as failure:
                if not quiet:
                    logger.warning("shard %d stays closed: %s", shard, failure)
                quiet = True
                cursor = None
            if cursor is not None:
                logger.info("shard %d is open, generation %d", shard, cursor.generation)
                return
            await asyncio.sleep(RETRY_DELAY_S)

    async def _open_or_recover(self, shard: int) -> Cursor | None:
        cursor = await self._recoverer.cursor(shard)
        if shard in self._rebuild_wanted or not await self._is_ours(shard, cursor.generation):
            recovered = await self._recoverer.recover(
                shard, cursor, rebuild=shard in self._rebuild_wanted
            )
            if recovered is None:
                return None
            self._rebuild_wanted.discard(shard)
            cursor = recovered
            await self._mark(shard, cursor.generation)
            await self._recoverer.finish(shard, cursor)
        generation = str(cursor.generation)
        scripts = script_set(generation, self._retention_ms)
        await load_scripts(self._client, scripts)
        if self._applied is not None:
            self._applied.open_shard(shard, generation, cursor.seq)
        self._store.open_shard(shard, scripts)
        return cursor

    async def _is_ours(self, shard: int, generation: int) -> bool:
        """Is this the data set that was opened under ``generation``, untouched since?"""
        marker = sha1(marker_text(shard, str(generation)).encode()).hexdigest()
        with translated_failures():
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.hget(keys.shard_meta(shard), "generation")
                pipeline.script_exists(marker)
                found, (marked,) = await pipeline.execute()
        return bool(marked) and found == str(generation).encode()

    async def _mark(self, shard: int, generation: int) -> None:
        with translated_failures():
            await self._client.script_load(marker_text(shard, str(generation)))
