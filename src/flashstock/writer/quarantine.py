"""After a quarantine: Redis is told too, however often that must be tried."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from flashstock.errors import UnknownPool
from flashstock.hotpath.scripts import RetractStatus
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import parse_reservation_id
from flashstock.model.records import ReservationRecord
from flashstock.model.states import PoolState
from flashstock.rounds import costs_one_round

logger = logging.getLogger(__name__)

RETRY_DELAY_S: Final = 1.0
LOOK_INTERVAL_S: Final = 5.0
"""A recovery may quarantine in another process, which wakes nobody here."""


class Quarantined(Protocol):
    """A row of the quarantine."""

    @property
    def id(self) -> int: ...

    @property
    def generation(self) -> int: ...

    @property
    def seq(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def pool(self) -> str: ...

    @property
    def reused_reservation_id(self) -> str | None: ...


class QuarantineBook(Protocol):
    """What the pauser needs of SQL."""

    async def quarantine_unpaused(self) -> Sequence[Quarantined]: ...

    async def mark_quarantine_paused(self, ids: Sequence[int]) -> None: ...

    async def resolve_quarantined(self, ids: Sequence[int], at_ms: int) -> None: ...

    async def reservation_record(self, reservation_id: str) -> ReservationRecord | None: ...


class QuarantinePauser:
    """SQL paused the pool in the transaction that quarantined; this carries it to Redis. Where a
    key was used again nothing is paused: the hold that SQL refused is taken back.

    The rows themselves are the to-do list, so a crash in between forgets nothing.
    """

    def __init__(self, book: QuarantineBook, store: HotStore) -> None:
        self._book = book
        self._store = store
        self._wanted = asyncio.Event()

    async def wake(self) -> None:
        """There may be rows to deal with."""
        self._wanted.set()

    async def run(self) -> None:
        """Deal with what waits, now, whenever woken and every few seconds, until cancelled."""
        while True:
            self._wanted.clear()
            done = False
            what = "what is in quarantine is not dealt with yet"
            with costs_one_round(logger, what, logging.WARNING):
                await self._deal_with_all()
                done = True
            if not done:
                await asyncio.sleep(RETRY_DELAY_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await self._wanted.wait()

    async def _deal_with_all(self) -> None:
        for row in await self._book.quarantine_unpaused():
            if row.reused_reservation_id is not None and await self._retracted(row):
                await self._book.resolve_quarantined([row.id], time.time_ns() // 1_000_000)
                continue
            try:
                await self._store.configure(
                    row.pool, {"state": PoolState.PAUSED.value}, created=None
                )
            except UnknownPool:
                logger.warning("quarantined pool %r is unknown to the hot path", row.pool)
            await self._book.mark_quarantine_paused([row.id])
            logger.error("pool %r is paused: an event of it is in quarantine", row.pool)

    async def _retracted(self, row: Quarantined) -> bool:
        """Is nothing left in Redis of what SQL refused? Not where it was paid for meanwhile."""
        if row.kind not in ("held", "ordered"):
            return True  # what became of such a hold goes with it
        target = parse_reservation_id(row.reused_reservation_id or "")
        older = await self._book.reservation_record(str(target))
        if target is None or older is None:
            return False
        status = await self._store.retract(target, row.generation, row.seq, older.pack())
        logger.warning("%s: its key was used again; the second hold: %s", target, status.name)
        return status is not RetractStatus.SOLD
