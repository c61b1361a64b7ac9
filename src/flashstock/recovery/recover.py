"""Recovering one shard: restartable at every step, and harmless when two try at once.

1. Win the generation in SQL: whatever was decided under the old one can't be committed any more
   by anyone else. A lease keeps others from starting over while this one works.
2. Take the data set over: from here on every script of the old generation is refused.
3. Drain: apply what the log still holds above the cursor.
4. Give holds back the time of the outage, in SQL, if it was one worth speaking of.
5. Compare: the data set stands where SQL stands, or it has lost its tail (or everything), or SQL
   has just gone on.
6. If it does not, rebuild it from SQL, in bounded memory.
7. Open it under the new generation.

A recoverer that dies anywhere leaves a data set that nobody opens, and a lease that runs out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import sha1
from typing import Final, Protocol

from redis.asyncio import Redis

from flashstock.errors import Recovering
from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.hotpath.position import Position
from flashstock.hotpath.scripts import TakeoverStatus, script_source
from flashstock.ledger.apply import Applied, Cursor, CursorMoved, LogGap
from flashstock.ledger.failures import is_violation
from flashstock.model.events import LogEntry
from flashstock.recovery.lease import KeptLease
from flashstock.recovery.outage import give_back_outage
from flashstock.recovery.rebuild import Lease, Rebuilder

logger = logging.getLogger(__name__)

LEASE_MS: Final = 10_000
DRAIN_ENTRIES_MAX: Final = 64


class RecoverableLedger(Protocol):
    """What recovery needs of SQL."""

    async def create_cursor(self, shard: int) -> Cursor: ...

    async def opened_generation(self, shard: int) -> int: ...

    async def apply(
        self, cursor: Cursor, entries: Sequence[LogEntry], generation: int | None = None
    ) -> Applied: ...

    async def bump_generation(
        self, shard: int, from_generation: int, opened: int, owner: str, lease_ms: int
    ) -> Cursor | None: ...

    async def renew_recovery(
        self, shard: int, generation: int, owner: str, lease_ms: int
    ) -> bool: ...

    async def finish_recovery(self, shard: int, generation: int, owner: str) -> bool: ...

    async def alive_at_ms(self, shard: int) -> int: ...

    async def interrupted_holds(self, shard: int, began_ms: int) -> dict[str, int]: ...

    async def postpone(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor: ...


class Recoverer:
    """Recovers shards on behalf of one process.

    Args:
        clients: the server of each shard.
        ledger: SQL.
        rebuilder: writes a shard from SQL.
        owner: names this process in the lease; unique among processes.
    """

    def __init__(
        self,
        clients: Sequence[Redis],
        ledger: RecoverableLedger,
        rebuilder: Rebuilder,
        owner: str,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._rebuilder = rebuilder
        self._owner = owner

    async def cursor(self, shard: int) -> Cursor:
        """The shard's cursor, made if this is its first start."""
        return await self._ledger.create_cursor(shard)

    async def recover(
        self, shard: int, seen: Cursor, seen_opened: int, *, rebuild: bool
    ) -> Cursor | None:
        """Bring the data set and SQL to one state under a new generation, not yet finished.

        Args:
            seen, seen_opened: cursor and opened generation by which it was found that this is
                needed. Of all who found the same, one begins.

        Returns:
            The new cursor, or ``None`` while another process is at it.

        Raises:
            Recovering: overtaken on the way; look again.
        """
        cursor = await self._ledger.bump_generation(
            shard, seen.generation, seen_opened, self._owner, LEASE_MS
        )
        if cursor is None:
            return None
        token = f"{cursor.generation}-{self._owner}"
        seq, opened = await self._take_over(shard, cursor, token)
        if seq >= 0 and opened < await self._ledger.opened_generation(shard):
            # A stale replica, or an old primary that came back: what it decided does not count.
            logger.error("shard %d: this data set is of the past generation %d", shard, opened)
            rebuild = True
        elif seq >= 0 and not await self._is_followed(shard, cursor):
            logger.error("shard %d: other decisions lead to seq %d here", shard, cursor.seq)
            rebuild = True
        # A first start goes the same way, and is nobody's alarm.
        level = logging.WARNING if cursor.seq > 0 else logging.INFO
        logger.log(
            level,
            "shard %d: recovering as generation %d; log at %d, ledger at %d",
            shard,
            cursor.generation,
            seq,
            cursor.seq,
        )
        lease = KeptLease(self._ledger, shard, cursor.generation, self._owner, LEASE_MS)
        async with lease.renewed():
            if seq >= 0 and not rebuild:
                cursor = await self._drain(shard, cursor, opened, lease)
            await lease.renew()
            cursor = await self._give_back(cursor, await self._now_ms(shard, token, seq))
            if rebuild or seq != cursor.seq:
                logger.log(level, "shard %d: rebuilding at seq %d from SQL", shard, cursor.seq)
                position = Position(cursor.seq, cursor.log_id)
                await self._rebuilder.rebuild(shard, seq, position, token, lease)
            await lease.renew()
            await self._rebuilder.open(shard, cursor.seq, token, cursor.generation)
        return cursor

    async def finish(self, shard: int, cursor: Cursor) -> None:
        """Put on record that this generation was opened, and give the lease back.

        Nobody goes in before: so from the first decision under this generation on, a data set of
        an older one is known to be stale.

        Raises:
            Recovering: overtaken; look again.
        """
        if not await self._ledger.finish_recovery(shard, cursor.generation, self._owner):
            raise Recovering("the lease of this recovery has run out; it begins again")

    async def opened_generation(self, shard: int) -> int:
        """The last generation whose recovery was finished; 0 where there was none."""
        return await self._ledger.opened_generation(shard)

    async def _take_over(self, shard: int, cursor: Cursor, token: str) -> tuple[int, int]:
        text = script_source("takeover")
        client, key = self._clients[shard], keys.shard_meta(shard)
        with translated_failures():
            sha = await client.script_load(text)
            assert sha == sha1(text.encode()).hexdigest()
            reply = await client.evalsha(sha, 1, key, cursor.generation, token)
        if reply[0] != TakeoverStatus.TAKEN:
            raise Recovering("a newer recovery has been here")
        return int(reply[1]), int(reply[2])

    async def _now_ms(self, shard: int, token: str, seq: int) -> int:
        """What time it is by now where the data set is, and never before a decision of its scripts.

        Since it was taken over SQL may have been away as long as any outage is.
        """
        client, fields = self._clients[shard], ["generation", "seq", "clock_ms"]
        with translated_failures():
            seconds, microseconds = await client.time()
            generation, stands_at, clock_ms = await client.hmget(keys.shard_meta(shard), fields)
        if (generation, stands_at) != (token.encode(), str(seq).encode()):
            raise Recovering("the data set that was taken over is no longer there")
        return max(seconds * 1_000 + microseconds // 1_000, int(clock_ms or 0))

    async def _is_followed(self, shard: int, cursor: Cursor) -> bool:
        return await ShardLog(self._clients[shard], shard).holds(
            Position(cursor.seq, cursor.log_id)
        )

    async def _give_back(self, cursor: Cursor, now_ms: int) -> Cursor:
        try:
            return await give_back_outage(self._ledger, cursor, now_ms)
        except Exception as error:
            if not is_violation(error):
                raise
            # What SQL refuses once it will refuse again, and nobody would ever open the shard.
            logger.exception("shard %d: the time of the outage is not given back", cursor.shard)
            return cursor

    async def _drain(self, shard: int, cursor: Cursor, opened: int, lease: Lease) -> Cursor:
        """Apply the rest of the log. A log that can't be followed is left to the rebuild.

        Above the cursor there is only what was decided since the data set was last opened. A log
        that says otherwise is that of another server, which came back while we looked.
        """
        log = ShardLog(self._clients[shard], shard)
        try:
            async for page in log.read_all(LOG_START, DRAIN_ENTRIES_MAX):
                if not await self._is_followed(shard, cursor):
                    raise LogGap("the log has become another one meanwhile")
                fresh = [entry for entry in page if entry.last_seq > cursor.seq]
                if fresh:
                    await lease.renew()
                    applied = await self._ledger.apply(cursor, fresh, opened)
                    cursor = applied.cursor
        except LogGap as gap:
            logger.error("shard %d: the log ends at seq %d: %s", shard, cursor.seq, gap)
        except CursorMoved as moved:
            raise Recovering("another process has taken this recovery over") from moved
        return cursor
