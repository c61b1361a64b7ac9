"""After a quarantine: the pool stops selling in Redis too, however often that must be tried."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from flashstock.errors import FlashstockError, UnknownPool
from flashstock.hotpath.store import HotStore
from flashstock.model.states import PoolState

logger = logging.getLogger(__name__)

RETRY_DELAY_S: Final = 1.0


class Quarantined(Protocol):
    """A row of the quarantine."""

    @property
    def id(self) -> int: ...

    @property
    def pool(self) -> str: ...


class QuarantineBook(Protocol):
    """What the pauser needs of SQL."""

    async def quarantine_unpaused(self) -> Sequence[Quarantined]: ...

    async def mark_quarantine_paused(self, ids: Sequence[int]) -> None: ...


class QuarantinePauser:
    """SQL paused the pool in the transaction that quarantined; this carries it to Redis.

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
        """Pause what waits, now and whenever woken, until cancelled."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._pause_waiting()
            except FlashstockError as failure:
                logger.warning("pools in quarantine are not paused yet: %s", failure)
                self._wanted.set()
                await asyncio.sleep(RETRY_DELAY_S)

    async def _pause_waiting(self) -> None:
        for row in await self._book.quarantine_unpaused():
            try:
                await self._store.configure(
                    row.pool, {"state": PoolState.PAUSED.value}, created=None
                )
            except UnknownPool:
                logger.warning("quarantined pool %r is unknown to the hot path", row.pool)
            await self._book.mark_quarantine_paused([row.id])
            logger.error("pool %r is paused: an event of it is in quarantine", row.pool)
