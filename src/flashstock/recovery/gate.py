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

from flashstock.errors import FlashstockError, Recovering
from flashstock.hotpath import keys
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.position import Position
from flashstock.hotpath.scripts import ScriptSet, script_set
from flashstock.hotpath.store import HotStore
from flashstock.ledger.apply import Cursor
from flashstock.recovery.recover import Recoverer

logger = logging.getLogger(__name__)

RETRY_DELAY_S: Final = 0.1


def marker_text(shard: int, generation: str) -> str:
    """A script nobody calls: its presence in the script cache is the message."""
    return f"return 'flashstock shard {shard} generation {generation}'"


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
        recoverer: does the work under a lease in SQL.
        applied: told of generations, where this process waits for commits.
        retention_ms: part of the script text.
    """

    def __init__(
        self,
        store: HotStore,
        recoverer: Recoverer,
        applied: AppliedTracker | None,
        *,
        retention_ms: int,
    ) -> None:
        self._store = store
        self._recoverer = recoverer
        self._applied = applied
        if applied is not None:
            store.committed = applied.applied
            applied.on_lost = self.lost
            applied.log_of = self._log_of
        self._retention_ms = retention_ms
        self._losses = [0] * store.shard_count
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._rebuild_wanted: dict[int, int | None] = {}
        """Shard → the generation that must go, or ``None`` for whichever it is by now."""

    async def open_all(self) -> None:
        """Open every shard, recovering where needed. Waits as long as the stores are away."""
        for shard in range(self._store.shard_count):
            self.lost(shard)
        await asyncio.gather(*self._opening.values())

    def lost(self, shard: int) -> None:
        """The shard's data set is not the one we opened: close it and open it again."""
        self._losses[shard] += 1
        self._close(shard)
        task = self._opening.get(shard)
        if task is None or task.done():
            self._opening[shard] = asyncio.get_running_loop().create_task(self._reopen(shard))

    async def verify(self) -> None:
        """Ask every open shard for a sign of life: a process that nobody asks notices a loss too.

        What became of one shard says nothing of another: all are asked, whatever one answers.

        Raises:
            Unavailable: some server did not answer; its Recovering: a shard is opened again.
        """
        open_shards = [
            shard
            for shard in range(self._store.shard_count)
            if self._store.generation(shard) is not None
        ]
        asked = (self._store.seq(shard) for shard in open_shards)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for failure in answers:
            if isinstance(failure, BaseException):
                raise failure

    def rebuild(self, shard: int, generation: int | None = None) -> None:
        """Rebuild the shard from SQL whatever its log says, then open it.

        Args:
            generation: do nothing where somebody else has recovered this one already.
        """
        self._rebuild_wanted[shard] = generation
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
            cursor = None
            try:
                cursor = await self._open_or_recover(shard)
            except FlashstockError as failure:
                if not quiet:
                    logger.warning("shard %d stays closed: %s", shard, failure)
                quiet = True
            except Exception:  # (whatever it is: a shard that nobody opens is worse)
                logger.exception("shard %d stays closed", shard)
            if cursor is not None and shard not in self._rebuild_wanted:
                logger.info("shard %d is open, generation %d", shard, cursor.generation)
                return
            self._close(shard)
            await asyncio.sleep(RETRY_DELAY_S)

    async def _open_or_recover(self, shard: int) -> Cursor | None:
        cursor = await self._recoverer.cursor(shard)
        opened = await self._recoverer.opened_generation(shard)
        rebuild = self._must_rebuild(shard, cursor)
        if rebuild or not await self._is_ours(shard, cursor, opened):
            recovered = await self._recoverer.recover(shard, cursor, opened, rebuild=rebuild)
            if recovered is None:
                return None
            self._rebuild_wanted.pop(shard, None)
            cursor = recovered
            if not await self._let_in(shard, cursor, marked=False):
                raise Recovering("another process has taken this data set over")
            await self._recoverer.finish(shard, cursor)
        if self._applied is not None:
            position = Position(cursor.seq, cursor.log_id)
            self._applied.open_shard(shard, str(cursor.generation), position)
            losses = self._losses[shard]
            await self._applied.settle(shard)
            if self._losses[shard] != losses:
                # Whoever waits was sent away, and would be for ever were it opened now.
                raise Recovering("the shard was lost while it was opened")
        self._store.open_shard(shard, self._scripts(cursor))
        return cursor

    def _must_rebuild(self, shard: int, cursor: Cursor) -> bool:
        if shard not in self._rebuild_wanted:
            return False
        unwanted = self._rebuild_wanted[shard]
        if unwanted is None or cursor.generation <= unwanted:
            return True
        del self._rebuild_wanted[shard]
        return False

    def _log_of(self, shard: int) -> ShardLog:
        return ShardLog(self._store.clients[shard], shard)

    def _scripts(self, cursor: Cursor) -> ScriptSet:
        return script_set(cursor.shard, str(cursor.generation), self._retention_ms)

    async def _is_ours(self, shard: int, cursor: Cursor, opened: int) -> bool:
        """Was this very data set opened under the cursor's generation, and untouched since?

        Where SQL has not heard of it, its recoverer has not finished, or never will.
        """
        return opened == cursor.generation and await self._let_in(shard, cursor, marked=True)

    async def _let_in(self, shard: int, cursor: Cursor, *, marked: bool) -> bool:
        """Load our scripts, but only into the data set of the cursor's generation.

        Args:
            marked: whether the marker must be there already; else it is set.

        Returns:
            False, and nothing is loaded, where this is another data set.
        """
        generation = str(cursor.generation)
        marker = marker_text(shard, generation)
        with translated_failures():
            async with self._store.clients[shard].pipeline(transaction=True) as server:
                # Watching binds one connection. A server that is restarted or replaced breaks it,
                # so that what was verified here can't be loaded there.
                await server.watch(keys.never_written(shard))
                found, seq = await server.hmget(keys.shard_meta(shard), ["generation", "seq"])
                if found != generation.encode():
                    return False
                if int(seq or 0) < cursor.seq:
                    # A server that was a replica meanwhile remembers its scripts, marker
                    # included, and may have taken over a copy that was behind.
                    return False
                if not await ShardLog(server, shard).holds(Position(cursor.seq, cursor.log_id)):
                    # And may have gone on from there.
                    return False
                if marked and not (await server.script_exists(_sha(marker)))[0]:
                    return False
                server.multi()  # type: ignore[no-untyped-call]
                # Nothing is written. But what was verified may have been demoted, and to a
                # replica scripts could be loaded.
                server.unlink(keys.never_written(shard))
                for text in (*self._scripts(cursor).texts.values(), marker):
                    server.script_load(text)
                await server.execute()
        return True


def _sha(text: str) -> str:
    return sha1(text.encode()).hexdigest()
