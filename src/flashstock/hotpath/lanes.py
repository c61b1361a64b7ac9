"""Micro-batching: one lane per pool and process, and each lane waits for its answer.

Whatever arrives while a call is in flight is the next batch; where that is more than a batch may
hold, several are sent at once. An idle lane sends at the end of the current turn of the event
loop, so batching adds no latency at low load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from flashstock.errors import Overloaded
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.asking import Asking, AskingForFuture, Outcome, Verdicted
from flashstock.hotpath.refusals import without_refused
from flashstock.hotpath.replies import BatchReply
from flashstock.hotpath.scripts import Verdict

HELD: Final = int(Verdict.HELD)
REPLAYED: Final = int(Verdict.REPLAYED)
SOLD_OUT: Final = int(Verdict.SOLD_OUT)
CALLS_MAX: Final = 32
"""Batches sent at once, when that many wait. A turn of an overloaded event loop takes hundreds of
milliseconds: with one batch a turn the lane would starve while refusals take the time."""
KNOWN_DIGESTS_MAX: Final = 100_000
"""Beyond this many remembered reservations a pool is asked every time, sold out or not."""


class ReserveStore(Protocol):
    """What a lane needs of the store (``HotStore``, or a model of it in tests)."""

    def shard_of(self, pool_id: str) -> int: ...

    async def reserve(
        self,
        pool_id: str,
        units_wanted: int,
        digests: list[str],
        buyers: list[str],
        quantities: list[str],
        attests: list[str] | None = None,
    ) -> BatchReply: ...

    async def known(
        self, pool_id: str, digests_max: int
    ) -> tuple[int, frozenset[bytes]] | None: ...


class Observer(Protocol):
    """Told of what takes time, once for each batch. Plain calls; none may raise."""

    def decided(self, pool: str, batch: Sequence[Asking], seconds: float) -> None:
        """One call of the reserve script decided these requests in so many seconds."""

    def committed(self, pool: str, seconds: float) -> None:
        """What one batch granted was committed so many seconds after it had been decided."""


class Unobserved:
    """Nobody looks."""

    def decided(self, pool: str, batch: Sequence[Asking], seconds: float) -> None:
        pass

    def committed(self, pool: str, seconds: float) -> None:
        pass


class Lane:
    """The micro-batcher of one pool in this process."""

    __slots__ = (
        "_applied",
        "_backlog_max",
        "_batch_max",
        "_clock",
        "_flushing",
        "_known",
        "_known_at",
        "_last_seq",
        "_observer",
        "_pending",
        "_pending_max",
        "_pool",
        "_shard",
        "_sold_out",
        "_sold_out_until",
        "_stale_s",
        "_store",
        "batches",
    )

    def __init__(
        self,
        pool: str,
        store: ReserveStore,
        applied: AppliedTracker,
        *,
        batch_max: int,
        pending_max: int,
        backlog_events_max: int,
        sold_out_stale_ms: int,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._pool = pool
        self._shard = store.shard_of(pool)
        self._store = store
        self._applied = applied
        self._batch_max = batch_max
        self._pending_max = pending_max
        self._backlog_max = backlog_events_max
        self._last_seq = 0
        self._stale_s = sold_out_stale_ms / 1000
        self._clock = clock
        self._observer = observer
        self._pending: list[Asking] = []
        self._flushing: asyncio.Task[None] | None = None
        self._sold_out: BatchReply | None = None
        self._sold_out_until = 0.0
        self._known: frozenset[bytes] | None = frozenset()
        self._known_at = ("", -1)
        self.batches = 0

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return self._flushing is None

    @property
    def waiting(self) -> int:
        """Requests that no call has taken yet."""
        return len(self._pending)

    def sold_out(self, digest: str) -> BatchReply | None:
        """The last batch's reply, if it still says "nothing left" to this request.

        At most ``sold_out_stale_ms`` old, and never said to a request that was granted before.
        """
        if self._sold_out is None or self._known is None:
            return None
        if self._clock() >= self._sold_out_until:
            self._sold_out = None
            return None
        return None if digest.encode() in self._known else self._sold_out

    def ask(self, asking: Asking) -> None:
        """Queue one request.

        A HELD or REPLAYED verdict of a ``ledger`` pool is told once it is committed in SQL.

        Raises:
            Overloaded: the lane is full, or the writer is too far behind; nothing was queued.
        """
        pending = self._pending
        if len(pending) >= self._pending_max:
            raise Overloaded
        if self._last_seq - self._applied.applied(self._shard) > self._backlog_max:
            raise Overloaded("the ledger is too far behind; retry with the same key")
        pending.append(asking)
        if self._flushing is None:
            # A task of its own: a client that hangs up must not cancel others' decisions.
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    def submit(
        self, digest: str, buyer: str, quantity: int, attests: str = ""
    ) -> asyncio.Future[Verdicted]:
        """``ask``, with a future for the answer."""
        asking = AskingForFuture(digest, buyer, quantity, attests)
        self.ask(asking)
        return asking.future

    async def _flush(self) -> None:
        try:
            while self._pending:
                last = await self._decide_in_order(self._take())
                if last is not None and last.available == 0:
                    await self._remember_sold_out(last)
        finally:
            self._flushing = None

    def _take(self) -> list[list[Asking]]:
        size = self._batch_max
        waiting = self._pending[: size * CALLS_MAX]
        del self._pending[: size * CALLS_MAX]
        return [waiting[start : start + size] for start in range(0, len(waiting), size)]

    async def _decide_in_order(self, batches: list[list[Asking]]) -> BatchReply | None:
        """The last batch's reply; ``None`` where that one failed."""
        if len(batches) == 1:
            return await self._decide(batches[0])
        # Sent in this order. Each one's failure is its own.
        replies = await asyncio.gather(*(self._decide(batch) for batch in batches))
        return replies[-1]

    async def _decide(self, batch: list[Asking]) -> BatchReply | None:
        digests = [asking.digest for asking in batch]
        asked_at = self._clock()
        try:
            reply = await self._call(digests, batch)
            outcomes = self._outcomes(batch, reply)
        except Exception as failure:  # noqa: BLE001 (handed on: nobody waits for ever)
            for asking in batch:
                asking.failed(failure)
            return None
        self._observer.decided(self._pool, batch, self._clock() - asked_at)
        self.batches += 1
        self._last_seq = reply.seq
        # What was remembered knows nothing of what this batch was granted.
        self._sold_out = None
        if reply.fast and not self._applied.any_suspect(self._shard, digests):
            _tell(outcomes, reply)
        else:
            self._tell_when_applied(outcomes, reply)
        return reply

    async def _call(self, digests: list[str], batch: list[Asking]) -> BatchReply:
        quantities = [asking.quantity for asking in batch]
        attests = [asking.attests for asking in batch]
        return await self._store.reserve(
            self._pool,
            sum(quantities),
            digests,
            [asking.buyer for asking in batch],
            [str(quantity) for quantity in quantities],
            attests if any(attests) else None,
        )

    def _outcomes(self, batch: list[Asking], reply: BatchReply) -> list[Outcome]:
        replays = iter(reply.replays)
        return [
            (asking, digit - 48, next(replays) if digit - 48 == REPLAYED else None)
            for asking, digit in zip(batch, reply.verdicts, strict=True)
        ]

    def _tell_when_applied(self, outcomes: list[Outcome], reply: BatchReply) -> None:
        """Refusals are answered now; what must be durable waits for the writer, off the lane."""
        durable = [outcome for outcome in outcomes if outcome[1] <= REPLAYED]
        if len(durable) < len(outcomes):
            _tell([outcome for outcome in outcomes if outcome[1] > REPLAYED], reply)
        if durable:
            task = asyncio.get_running_loop().create_task(self._await_commit(durable, reply))
            _BACKGROUND.add(task)
            task.add_done_callback(_BACKGROUND.discard)

    async def _await_commit(self, durable: list[Outcome], reply: BatchReply) -> None:
        decided_at = self._clock()
        try:
            await self._applied.wait(self._shard, reply.generation, reply.seq)
            self._observer.committed(self._pool, self._clock() - decided_at)
            if self._applied.has_refusals(self._shard):
                durable = await without_refused(
                    self._applied, self._shard, self._pool, durable, reply
                )
        except Exception as failure:  # noqa: BLE001 (handed on: nobody waits for ever)
            for asking, _, _ in durable:
                asking.failed(failure)
        else:
            _tell(durable, reply)

    async def _remember_sold_out(self, reply: BatchReply) -> None:
        heard_at = self._clock()
        grants = (reply.generation, reply.grants)
        if self._known_at != grants:
            try:
                known = await self._store.known(self._pool, KNOWN_DIGESTS_MAX)
            except Exception:  # noqa: BLE001 (not to remember is always right: the store is asked)
                return
            if known is None:
                # Too many to remember, and it stays so: don't read them again for every batch.
                self._known_at, self._known = grants, None
            elif known[0] == reply.grants:
                self._known_at, self._known = grants, known[1]
            else:
                return
        if self._known is None:
            return
        stale_s = self._stale_s
        if reply.next_wave_ms:
            stale_s = min(stale_s, (reply.next_wave_ms - reply.now_ms) / 1000)
        self._sold_out = reply
        self._sold_out_until = heard_at + stale_s


_BACKGROUND: Final[set[asyncio.Task[None]]] = set()
"""asyncio keeps weak references to tasks only; these wait for a commit."""


def _tell(outcomes: list[Outcome], reply: BatchReply) -> None:
    for asking, verdict, replay in outcomes:
        asking.decided(verdict, reply, replay)


class Lanes:
    """All lanes of this process.

    Args:
        store: the reservation store.
        applied: tells when an event is committed.
        batch_max: requests in one script call, at most.
        pending_max: requests that may wait in one lane; beyond it ``Overloaded``.
        backlog_events_max: events that may wait for the writer; beyond it ``Overloaded``.
        sold_out_stale_ms: how long "nothing left" may be repeated without asking.
        observer: told how long batches take.
        lanes_max: lanes kept; idle ones make room.
        kind: of lanes: what a batch is decided by.
    """

    def __init__(
        self,
        store: ReserveStore,
        applied: AppliedTracker,
        *,
        batch_max: int,
        pending_max: int,
        backlog_events_max: int,
        sold_out_stale_ms: int,
        clock: Callable[[], float],
        observer: Observer | None = None,
        lanes_max: int = 20_000,
        kind: type[Lane] = Lane,
    ) -> None:
        self._new_lane: Callable[[str], Lane] = lambda pool: kind(
            pool,
            store,
            applied,
            batch_max=batch_max,
            pending_max=pending_max,
            backlog_events_max=backlog_events_max,
            sold_out_stale_ms=sold_out_stale_ms,
            clock=clock,
            observer=observer or Unobserved(),
        )
        self.sold_out_from_memory = 0
        """Refusals that asked nobody."""
        self._lanes: dict[str, Lane] = {}
        self._lanes_max = lanes_max

    @property
    def waiting(self) -> int:
        """Requests in all lanes that no call has taken yet."""
        return sum(lane.waiting for lane in self._lanes.values())

    def lane(self, pool: str) -> Lane:
        """The lane of a pool, made on first use.

        Raises:
            Overloaded: every one of ``lanes_max`` lanes is busy.
        """
        lane = self._lanes.get(pool)
        if lane is None:
            if len(self._lanes) >= self._lanes_max:
                self._make_room()
            lane = self._lanes[pool] = self._new_lane(pool)
        return lane

    def _make_room(self) -> None:
        idle = [pool for pool, lane in self._lanes.items() if lane.idle]
        if not idle:
            raise Overloaded
        for pool in idle:
            del self._lanes[pool]

    def ask(self, pool: str, asking: Asking) -> None:
        """Answer from memory, or queue in the pool's lane (see ``Lane.ask``)."""
        lane = self.lane(pool)
        remembered = lane.sold_out(asking.digest)
        if remembered is None:
            lane.ask(asking)
        else:
            self.sold_out_from_memory += 1
            asking.decided(SOLD_OUT, remembered, None)

    def submit(
        self, pool: str, digest: str, buyer: str, quantity: int, attests: str = ""
    ) -> asyncio.Future[Verdicted]:
        """``ask``, with a future for the answer."""
        asking = AskingForFuture(digest, buyer, quantity, attests)
        self.ask(pool, asking)
        return asking.future
