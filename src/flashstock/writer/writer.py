"""One ordered writer per shard folds the log into SQL, exactly once.

The cursor in SQL decides everything: two writers on one shard are harmless, a writer killed
anywhere loses nothing, and a writer that slept through a recovery finds its cursor moved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from flashstock.errors import Recovering, Unavailable
from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.hotpath.position import Position
from flashstock.ledger.apply import Applied, Cursor, CursorMoved, LogGap
from flashstock.model.events import LogEntry

logger = logging.getLogger(__name__)

READ_ENTRIES_MAX: Final = 64
"""Log entries in one read; each holds at most 128 events, so this bounds memory too."""
BLOCK_MS: Final = 1_000
LINGER_MS: Final = 50
"""As long entries that nobody waits for may be kept back to be committed with later ones."""
RETRY_DELAY_MIN_S: Final = 0.05
RETRY_DELAY_MAX_S: Final = 1.0
LOOK_INTERVAL_S: Final = 5.0
STANDSTILL_S: Final = 10.0
"""As long as a recoverer's lease: before it runs out nobody else could begin anyway."""


class WritableLedger(Protocol):
    """What the writer needs of SQL."""

    async def cursor(self, shard: int) -> Cursor | None: ...

    async def apply(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Applied: ...

    async def keep_alive(self, cursor: Cursor, at_ms: int) -> bool: ...


class ShardWriter:
    """Tails one shard's log and applies it.

    Args:
        shard: which one.
        log: the shard's log.
        ledger: SQL.
        clock: what time it is in the shard; raises ``Unavailable`` where its scripts are not those
            it was opened with. Only their word tells that it works.
        on_quarantine: called after events went to quarantine, to pause their pools.
        on_gap: called with the shard and the generation that must go: its own, when the log does
            not hold what SQL still lacks and only a rebuild helps; the one before, when that is
            still open.
        events_max: events in one transaction, at most (whole decisions, which may be larger).
        margin_entries: applied entries kept in the log, for reconciliation and slow readers.
    """

    def __init__(
        self,
        shard: int,
        log: ShardLog,
        ledger: WritableLedger,
        *,
        clock: Callable[[int], Awaitable[int]],
        on_quarantine: Callable[[], Awaitable[None]],
        on_gap: Callable[[int, int], None],
        events_max: int,
        margin_entries: int,
    ) -> None:
        self._shard = shard
        self._log = log
        self._ledger = ledger
        self._clock = clock
        self._on_quarantine = on_quarantine
        self._on_gap = on_gap
        self._events_max = events_max
        self._margin_entries = margin_entries
        self._stopping = False
        self._cursor: Cursor | None = None
        self._delay_s = RETRY_DELAY_MIN_S
        self._awaited: Cursor | None = None
        self._awaited_since_s = 0.0
        self._looked_at_s = 0.0
        self._applied_ids: deque[str] = deque()
        self.events_applied = 0
        self.transactions = 0

    @property
    def committed(self) -> int:
        """Up to which seq this writer knows SQL to have everything."""
        return 0 if self._cursor is None else self._cursor.seq

    def stop(self) -> None:
        """Ask ``run`` to end once the log is applied as far as it goes right now."""
        self._stopping = True

    async def run(self) -> None:
        """Apply until ``stop``; survives every failure of either store by starting over."""
        while not self._stopping:
            try:
                await self._follow_to_the_gap()
                return
            except CursorMoved:
                logger.info("shard %d: the cursor moved; reading it again", self._shard)
            except Unavailable as failure:
                logger.warning(
                    "shard %d: %s; retrying in %.2f s", self._shard, failure, self._delay_s
                )
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, RETRY_DELAY_MAX_S)

    async def _follow_to_the_gap(self) -> None:
        """Raises ``CursorMoved`` once it is clear what is to be done about a gap."""
        try:
            await self._follow()
        except LogGap as gap:
            # Where another writer or a recovery went on, only what we remembered has a gap.
            if self._cursor is not None and await self._ledger.cursor(self._shard) == self._cursor:
                logger.error("shard %d: %s; asking for a rebuild", self._shard, gap)
                self._on_gap(self._shard, self._cursor.generation)
            raise CursorMoved from gap

    async def _follow(self) -> None:
        cursor = self._cursor = await self._ledger.cursor(self._shard)
        if cursor is None:
            raise Unavailable(f"shard {self._shard} has not been opened yet")
        position = await self._log.position()
        if position.generation != str(cursor.generation):
            self._ask_once_nothing_moves(cursor)
            raise Recovering(f"the data set of generation {cursor.generation} is not open here")
        await self._check_log(cursor, position.seq)
        self._applied_ids.clear()
        # Stream ids are only a hint where to start: after a failover they may run backwards.
        after = cursor.log_id or LOG_START
        await self._log.announce(cursor.generation, _position(cursor), cursor.seq)
        while True:
            block_ms = None if self._stopping else BLOCK_MS
            entries = await self._log.read(after, entries_max=READ_ENTRIES_MAX, block_ms=block_ms)
            if entries:
                await self._check_log(cursor)
                if entries[0].seq > cursor.seq + 1 and after != LOG_START:
                    # Those in between have earlier ids than the hint, by a clock that went back.
                    after = LOG_START
                    continue
                entries = await self._gather(entries)
                after = entries[-1].stream_id
                cursor = await self._apply(cursor, entries)
            elif self._stopping:
                return
            elif await self._has_moved_on(cursor):
                raise CursorMoved
            elif (seq := await self._log.seq()) <= cursor.seq:
                await self._check_log(cursor, seq)
            else:
                # Something is there that the hint passes over.
                entries = await self._log.read(LOG_START, entries_max=READ_ENTRIES_MAX)
                after = LOG_START
                if not entries or entries[0].seq > cursor.seq + 1:
                    raise LogGap(f"the log does not hold seq {cursor.seq + 1}")

    async def _check_log(self, cursor: Cursor, seq: int | None = None) -> None:
        """Raises ``LogGap`` where the data set has become a copy of an earlier one, which may have
        gone on from there: what SQL has is not in it.

        Args:
            seq: where the log ends, if that is known.
        """
        if seq is not None and seq < cursor.seq:
            raise LogGap(f"the log ends at seq {seq}, the ledger at {cursor.seq}")
        if not await self._log.holds(_position(cursor)):
            raise LogGap(f"other decisions than the ledger's lead to seq {cursor.seq}")

    async def _has_moved_on(self, cursor: Cursor) -> bool:
        """Whether SQL stands elsewhere, looked up every few seconds while nothing happens, and
        told on this occasion that the shard works: no outage has begun before.

        A generation that was won in SQL shows in the log only with the next event, and whoever
        sends that would have to wait until it is opened.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_at_s < LOOK_INTERVAL_S:
            return False
        self._looked_at_s = now_s
        return not await self._ledger.keep_alive(cursor, await self._clock(self._shard))

    async def _gather(self, entries: list[LogEntry]) -> list[LogEntry]:
        """Where nobody waits for the commit, let more come: a transaction costs as much for one
        entry as for many.
        """
        clock = asyncio.get_running_loop().time
        commit_at = clock() + LINGER_MS / 1_000
        gathered, newest = list(entries), entries
        while (
            all(entry.patient for entry in newest)
            and not self._stopping
            and (room := READ_ENTRIES_MAX - len(gathered)) > 0
            and sum(entry.count for entry in gathered) < self._events_max
            and (left_ms := round((commit_at - clock()) * 1_000)) > 0
        ):
            after = gathered[-1]
            newest = await self._log.read(after.stream_id, entries_max=room, block_ms=left_ms)
            if not newest:
                break
            if not await self._log.holds(Position(after.last_seq, after.stream_id)):
                # What was kept back is lost, and others have its numbers: read again.
                raise CursorMoved
            gathered += newest
        return gathered

    def _ask_once_nothing_moves(self, cursor: Cursor) -> None:
        """Where the cursor's generation is not that of the data set, somebody is at it.

        Unless whoever won the generation died before taking the data set over: nobody else
        would notice, because the scripts of the one before go on working. Or this is an old
        primary, and a new one goes on elsewhere: taking the generation back and forth would
        stop both, so it is left alone as long as it gets anywhere.
        """
        now_s = asyncio.get_running_loop().time()
        if cursor != self._awaited:
            self._awaited, self._awaited_since_s = cursor, now_s
        elif now_s - self._awaited_since_s >= STANDSTILL_S:
            self._awaited = None
            self._on_gap(self._shard, cursor.generation - 1)

    async def _apply(self, cursor: Cursor, entries: list[LogEntry]) -> Cursor:
        for batch in self._transactions(entries):
            if batch[-1].last_seq <= cursor.seq:
                continue
            applied = await self._ledger.apply(cursor, batch)
            self.events_applied += applied.cursor.seq - cursor.seq
            self.transactions += 1
            self._delay_s = RETRY_DELAY_MIN_S
            recorded_after = applied.cursor.seq if applied.quarantined else cursor.seq
            cursor = self._cursor = applied.cursor
            decided = [Position(entry.last_seq, entry.stream_id) for entry in batch]
            await self._log.announce(cursor.generation, _position(cursor), recorded_after, decided)
            if applied.quarantined:
                logger.error("shard %d: quarantined seq %s", self._shard, applied.quarantined)
                await self._on_quarantine()
        self._applied_ids.extend(entry.stream_id for entry in entries)
        await self._trim()
        return cursor

    def _transactions(self, entries: list[LogEntry]) -> list[list[LogEntry]]:
        batches: list[list[LogEntry]] = [[]]
        events = 0
        for entry in entries:
            full = events + entry.count > self._events_max
            if batches[-1] and full and not entry.continues:
                batches.append([])
                events = 0
            batches[-1].append(entry)
            events += entry.count
        return batches

    async def _trim(self) -> None:
        # Twice the margin before anything is dropped: one XTRIM for many entries.
        if len(self._applied_ids) <= self._margin_entries * 2:
            return
        while len(self._applied_ids) > self._margin_entries + 1:
            self._applied_ids.popleft()
        await self._log.trim(self._applied_ids[0])


def _position(cursor: Cursor) -> Position:
    return Position(cursor.seq, cursor.log_id)
