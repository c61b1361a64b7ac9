"""Keeping a recovery's lease for as long as the recovery takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from flashstock.errors import FlashstockError, Recovering

logger = logging.getLogger(__name__)

RENEWALS_IN_LEASE: Final = 4
RENEWAL_INTERVAL_MIN_S: Final = 0.1


class RenewableLease(Protocol):
    """What is needed of SQL."""

    async def renew_recovery(
        self, shard: int, generation: int, owner: str, lease_ms: int
    ) -> bool: ...


class KeptLease:
    """A lease that is renewed beside the work, however long one step of it takes.

    No unit depends on it: whoever lost it is fenced off in both stores. But a recovery whose lease
    runs out is begun again, and so that is given back what an outage in its midst took.
    """

    def __init__(
        self, ledger: RenewableLease, shard: int, generation: int, owner: str, lease_ms: int
    ) -> None:
        self._ledger = ledger
        self._shard = shard
        self._generation = generation
        self._owner = owner
        self._lease_ms = lease_ms
        self._lost = False

    async def renew(self) -> None:
        """To be called before every step that writes.

        Raises:
            Recovering: the lease ran out, and perhaps another process took over.
        """
        if not self._lost:
            self._lost = not await self._ledger.renew_recovery(
                self._shard, self._generation, self._owner, self._lease_ms
            )
        if self._lost:
            raise Recovering("the lease of this recovery has run out; it begins again")

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew it for as long as the block runs, and once more at its end."""
        renewing = asyncio.get_running_loop().create_task(self._renew_until_lost())
        try:
            yield
            await self.renew()
        finally:
            renewing.cancel()

    async def _renew_until_lost(self) -> None:
        interval_s = max(RENEWAL_INTERVAL_MIN_S, self._lease_ms / RENEWALS_IN_LEASE / 1000)
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.renew()
            except Recovering:
                return
            except FlashstockError as failure:
                logger.warning("shard %d: the lease is not renewed: %s", self._shard, failure)
