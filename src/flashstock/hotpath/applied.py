"""Waiting until the writer has committed: "applied up to seq n", and what of it SQL refused.

A number alone does not tell whose it is: a server that became a copy of an earlier state gives
numbers out again. So whoever waits is woken for its number, and acknowledged for its position.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final, Protocol

from flashstock.errors import FlashstockError, NotRecorded, Overloaded, Recovering, Unavailable
from flashstock.hotpath.position import Position
from flashstock.model.events import LogEntry
from flashstock.model.records import ReservationRecord, unpack_record

logger = logging.getLogger(__name__)


POSITIONS_KEPT: Final = 4_096
"""Committed ones that a process knows by heart; others are looked up in the log."""


class ReadableLog(Protocol):
    """What is needed of a shard's log."""

    async def between(
        self, after_seq: int, up_to_seq: int, entries_max: int
    ) -> Sequence[LogEntry]: ...


class RefusalBook(Protocol):
    """What SQL can tell of the events that it refused."""

    async def refused_events(
        self, shard: int, generation: int, after_seq: int
    ) -> Sequence[tuple[str, int]]:
        """(subject, seq) of those of a generation after a seq, and of all that are unresolved."""
        ...

    async def reservation_record(self, reservation_id: str) -> ReservationRecord | None: ...


class AppliedTracker:
    """Knows, per shard, how far SQL has followed the log, and wakes whoever waits for that.

    Sequence numbers mean something within one generation only: when a shard is opened under a
    new one, everybody who waited under the old one is sent away to retry.

    Args:
        book: asked for what went to quarantine, whenever announcements do not rule it out. An
            event that is followed by the cursor is not thereby recorded.
    """

    def __init__(self, shard_count: int, timeout_ms: int, book: RefusalBook | None = None) -> None:
        self.shard_count = shard_count
        self._generation = [""] * shard_count
        self._applied = [0] * shard_count
        self._heard = [0] * shard_count
        self._waiting: list[list[tuple[int, int, asyncio.Future[None]]]] = [
            [] for _ in range(shard_count)
        ]
        self._timeout_s = timeout_ms / 1000
        self._tickets = count()
        self._book = book
        self._refused: list[dict[str, set[int]]] = [defaultdict(set) for _ in range(shard_count)]
        self._settling: dict[int, asyncio.Task[None]] = {}
        self._committed = [Position(0, "")] * shard_count
        """The last position heard of."""
        self._log_ids: list[dict[int, str]] = [{} for _ in range(shard_count)]
        """Of what is committed: seq → stream id of the entry that it ends."""
        self.log_of: Callable[[int], ReadableLog] | None = None
        """Where positions are looked up that nobody announced; ``None``: they are believed."""
        self.on_lost: Callable[[int], None] | None = None
        """Called with a shard that decided what SQL does not have in that place."""

    def open_shard(self, shard: int, generation: str, seq: int) -> None:
        """Start counting for a (new) generation from what is committed already."""
        if generation != self._generation[shard]:
            self.close_shard(shard)
            self._generation[shard] = generation
            self._applied[shard] = self._heard[shard] = 0
            self._refused[shard].clear()
            self._log_ids[shard].clear()
        self.announce(shard, generation, seq)

    def close_shard(self, shard: int) -> None:
        """Send everybody away with ``Recovering``: the same key finds out what became of them."""
        self._generation[shard] = ""
        waiting, self._waiting[shard] = self._waiting[shard], []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(Recovering())

    def announce(
        self,
        shard: int,
        generation: str,
        seq: int,
        recorded_after: int | None = None,
        decided: Sequence[Position] = (),
    ) -> None:
        """Everything up to ``seq`` is committed. Older or repeated news changes nothing.

        Args:
            seq: where whoever commits says which it is, a ``Position``.
            recorded_after: SQL refused nothing between this and ``seq``; ``None``: who knows.
            decided: all decisions between the two.
        """
        if generation != self._generation[shard]:
            return
        self._learn(shard, decided)
        if isinstance(seq, Position) and seq >= self._committed[shard]:
            self._learn(shard, [seq])
            self._committed[shard] = seq
        if seq <= self._applied[shard]:
            return
        unknown = recorded_after is None or recorded_after > self._applied[shard]
        if self._book is None or not unknown:
            self._advance(shard, seq)
            return
        self._heard[shard] = max(self._heard[shard], seq)
        task = self._settling.get(shard)
        if task is None or task.done():
            task = asyncio.get_running_loop().create_task(self._settle_quietly(shard))
            self._settling[shard] = task

    async def settle(self, shard: int) -> None:
        """Ask SQL what it refused of all that it has, as far as that has not been heard, and the
        log what stands in the places of those who wait.

        Raises:
            Unavailable: SQL is away. Whoever waits goes on waiting.
        """
        while self._book is not None and self._heard[shard] > self._applied[shard]:
            generation, seq = self._generation[shard], self._heard[shard]
            if not generation:
                return
            after = self._applied[shard]
            refused = await self._book.refused_events(shard, int(generation), after)
            if generation != self._generation[shard]:
                return
            for subject, refused_seq in refused:
                self._refused[shard][subject].add(refused_seq)
            if self._waiting[shard]:
                await self._look_up(shard, self._waiting[shard][0][0])
                if generation != self._generation[shard]:
                    return
            self._advance(shard, seq)

    async def _settle_quietly(self, shard: int) -> None:
        try:
            await self.settle(shard)
        except FlashstockError as failure:  # the next announcement tries again
            logger.debug("shard %d: %s", shard, failure)

    def _advance(self, shard: int, seq: int) -> None:
        if seq <= self._applied[shard]:
            return
        self._applied[shard] = int(seq)
        waiting = self._waiting[shard]
        while waiting and waiting[0][0] <= seq:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)

    def _learn(self, shard: int, positions: Iterable[Position]) -> None:
        known = self._log_ids[shard]
        known.update((int(position), position.log_id) for position in positions)
        while len(known) > POSITIONS_KEPT:
            del known[next(iter(known))]

    async def _look_up(self, shard: int, seq: int) -> bool:
        """Learn what is committed from a seq on, from the log that SQL has followed to where it is.

        Another log has nothing to tell: what is said to be committed does not stand in it.

        Returns:
            False where it can't be told, because that is too long ago.
        """
        committed = self._committed[shard]
        if self.log_of is None or not committed.log_id:
            return False
        try:
            entries = await self.log_of(shard).between(seq - 1, committed, POSITIONS_KEPT)
        except Overloaded:
            return False
        if entries and entries[-1].stream_id == committed.log_id:
            self._learn(shard, (Position(entry.last_seq, entry.stream_id) for entry in entries))
        return True

    def applied(self, shard: int) -> int:
        """The last sequence number known to be committed."""
        return self._applied[shard]

    def waiting(self) -> int:
        """How many batches wait for a commit right now."""
        return sum(len(waiting) for waiting in self._waiting)

    async def wait(self, shard: int, generation: str, seq: int) -> None:
        """Return once ``seq`` of that generation is committed: if it is a ``Position``, this one.

        Raises:
            Recovering: the shard has been opened under another generation since, or has become a
                copy of an earlier state: another decision has that number in SQL.
            Unavailable: not within the time allowed; what was decided stands in the log.
        """
        if generation != self._generation[shard]:
            raise Recovering
        if seq > self._applied[shard]:
            await self._passed(shard, seq)
        if isinstance(seq, Position) and seq.log_id:
            await self._check_position(shard, generation, seq)

    async def _passed(self, shard: int, seq: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting[shard], (seq, next(self._tickets), future))
        try:
            async with asyncio.timeout(self._timeout_s):
                await future
        except TimeoutError:
            raise Unavailable("the ledger did not commit in time") from None

    async def _check_position(self, shard: int, generation: str, position: Position) -> None:
        known = self._log_ids[shard]
        if position not in known:
            if self.log_of is None:
                return
            if not await self._look_up(shard, position):
                raise Unavailable("it is not known any more what was committed; ask again")
        if generation != self._generation[shard]:
            raise Recovering
        # SQL has all that its cursor passed: where none ends here, this one is not among it.
        committed_id = known.get(position)
        if committed_id != position.log_id:
            logger.error(
                "shard %d: %s is not what the ledger has in that place (%s)",
                shard,
                position.text(),
                committed_id,
            )
            if self.on_lost is not None:
                self.on_lost(shard)
            raise Recovering

    async def recorded(self, shard: int, generation: str, seq: int, subject: str) -> None:
        """Return once the event ``seq`` about a subject is committed, or was found refused.

        Raises:
            NotRecorded: SQL refused it. Recovering, Unavailable: as ``wait``.
        """
        await self.wait(shard, generation, seq)
        if self.is_refused(shard, subject, seq, seq):
            raise NotRecorded

    def has_refusals(self, shard: int) -> bool:
        """Was anything of the shard refused? Hardly ever, so this comes before closer looks."""
        return bool(self._refused[shard])

    def is_suspect(self, shard: int, subject: str) -> bool:
        """Was anything about the subject refused? Then Redis may know what SQL does not."""
        return subject in self._refused[shard]

    def any_suspect(self, shard: int, subjects: Iterable[str]) -> bool:
        """Is one of them suspect?"""
        refused = self._refused[shard]
        return bool(refused) and any(subject in refused for subject in subjects)

    def is_refused(self, shard: int, subject: str, first_seq: int, seq: int) -> bool:
        """Was an event about the subject refused that has one of these numbers?"""
        refused = self._refused[shard].get(subject, ())
        return any(first_seq <= one <= seq for one in refused)

    async def check_hold(
        self, shard: int, reservation_id: str, seqs: tuple[int, int], replay: bytes | None
    ) -> None:
        """Whether SQL has a hold that one of the events ``seqs`` granted, or that is replayed.

        Raises:
            NotRecorded, Unavailable: as ``check_known``.
        """
        if replay is not None:
            await self.check_known(shard, reservation_id, unpack_record(replay.decode()))
        elif self.is_refused(shard, reservation_id.partition("~")[2], *seqs):
            raise NotRecorded(reservation=reservation_id)

    async def check_known(self, shard: int, reservation_id: str, record: ReservationRecord) -> None:
        """Whether SQL says of a reservation what Redis says, where that is in doubt.

        To be called once all that Redis decided before is committed.

        Raises:
            NotRecorded: SQL knows nothing of such a hold.
            Unavailable: it is on its way from one state to another; ask again.
        """
        digest = reservation_id.partition("~")[2]
        if self._book is None or not self.is_suspect(shard, digest):
            return
        stored = await self._book.reservation_record(reservation_id)
        if stored is None or (stored.generation, stored.seq) != (record.generation, record.seq):
            raise NotRecorded(reservation=reservation_id)
        if stored.pack() != record.pack():
            raise Unavailable("the ledger says otherwise; ask again, or look for it in quarantine")
