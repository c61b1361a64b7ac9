"""Refusals by reason, as API processes counted them: the journal knows nothing of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import writing
from flashstock.rounds import costs_one_round
from flashstock.statistics.folder import adding
from flashstock.statistics.tables import statistics_refusals
from flashstock.statistics.tally import minute_of

INTERVAL_S: Final = 10.0
ROWS_AT_ONCE: Final = 1_000

Refused = tuple[str, str]
"""A pool, and why."""

logger = logging.getLogger(__name__)


class RefusalRecorder:
    """Writes down every few seconds what one process has counted since.

    Args:
        take: hands over what was counted and begins anew.
        clock: ms since the epoch; what is written counts for the minute in which it is.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        take: Callable[[], Mapping[Refused, int]],
        clock: Callable[[], int],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._take = take
        self._clock = clock
        self._sleep = sleep
        self._waiting: Counter[Refused] = Counter()

    async def run(self) -> None:
        """Until cancelled; what could not be written is written with the next."""
        while True:
            await self._sleep(INTERVAL_S)
            with costs_one_round(logger, "refusals were not written down this time"):
                await self.flush()

    async def flush(self) -> int:
        """Write down what was counted; how many refusals.

        Raises:
            LedgerUnavailable: they are kept for the next time (and may then be counted twice,
                where only the answer to the commit was lost).
        """
        self._waiting.update(self._take())
        counted = self._waiting.total()
        minute_ms = minute_of(self._clock())
        while self._waiting:
            batch = sorted(self._waiting.items())[:ROWS_AT_ONCE]
            rows = [
                {"pool": pool, "minute_ms": minute_ms, "reason": reason, "requests": requests}
                for (pool, reason), requests in batch
            ]
            added = adding(self._engine, statistics_refusals, ("requests",))
            async with writing(self._engine) as connection:
                await connection.execute(added, rows)
            for key, _ in batch:
                del self._waiting[key]
        return counted
