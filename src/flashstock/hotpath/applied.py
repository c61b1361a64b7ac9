"""Waiting until the writer has committed: "applied up to seq n", and what of it SQL refused."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Protocol

from flashstock.errors import FlashstockError, NotRecorded, Recovering, Unavailable
from flashstock.model.records import ReservationRecord, unpack_record

logger = logging.getLogger(__name__)


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

    def open_shard(self, shard: int, generation: str, seq: int) -> None:
        """Start counting for a (new) generation from what is committed already."""
        if generation != self._generation[shard]:
            self.close_shard(shard)
            self._generation[shard] = generation
            self._applied[shard] = self._heard[shard] = 0
            self._refused[shard].clear()
        self.announce(shard, generation, seq)

    def close_shard(self, shard: int) -> None:
        """Send everybody away with ``Recovering``: the same key finds out what became of them."""
        self._generation[shard] = ""
        waiting, self._waiting[shard] = self._waiting[shard], []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(Recovering())

    def announce(
        self, shard: int, generation: str, seq: int, recorded_after: int | None = None
    ) -> None:
        """Everything up to ``seq`` is committed. Older or repeated news changes nothing.

        Args:
            recorded_after: SQL refused nothing between this and ``seq``; ``None``: who knows.
        """
        if generation != self._generation[shard] or seq <= self._applied[shard]:
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
        """Ask SQL what it refused of all that it has, as far as that has not been heard.

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
            self._advance(shard, seq)

    async def _settle_quietly(self, shard: int) -> None:
        try:
            await self.settle(shard)
        except FlashstockError as failure:  # the next announcement tries again
            logger.debug("shard %d: %s", shard, failure)

    def _advance(self, shard: int, seq: int) -> None:
        if seq <= self._applied[shard]:
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
