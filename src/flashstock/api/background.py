"""What an API process does beside answering: stay open, hear of commits, know the keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis

from flashstock.api.auth import REFRESH_INTERVAL_SECONDS, Keyring
from flashstock.errors import Recovering
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.log import follow_announcements
from flashstock.hotpath.position import Position
from flashstock.ledger.queries import Queries
from flashstock.recovery.gate import Gate
from flashstock.rounds import costs_one_round

logger = logging.getLogger(__name__)

CURSOR_POLL_S: Final = 0.25
"""An announcement can be missed; whoever waits hears of its commit this much later at most."""
RETRY_DELAY_S: Final = 0.2


class ApiBackground:
    """The background tasks of one API process. ``start`` returns at once: until the gate is
    open, requests are answered with ``recovering``.
    """

    def __init__(
        self,
        tailing: Redis,
        queries: Queries,
        applied: AppliedTracker,
        gate: Gate,
        keyring: Keyring,
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self._tailing = tailing
        self._queries = queries
        self._applied = applied
        self._gate = gate
        self._keyring = keyring
        self._beside = beside
        """What else runs here, until the end, and may be cut off anywhere."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every task."""
        self._run(self._gate.open_all())
        self._run(_forever(self._follow, RETRY_DELAY_S))
        self._run(_forever(self._poll_cursors, CURSOR_POLL_S))
        self._run(_forever(self._refresh_keys, REFRESH_INTERVAL_SECONDS))
        for run in self._beside:
            self._run(run())

    async def stop(self) -> None:
        """Cancel every task and wait for it."""
        await self._gate.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _follow(self) -> None:
        # A connection that was lost may have led to a data set that is: a worker that finds out
        # by itself opens the shard before the next buyer would have had to wait for it.
        with suppress(Recovering):
            await self._gate.verify()
        await follow_announcements(self._tailing, self._applied.shard_count, self._applied.announce)

    async def _poll_cursors(self) -> None:
        if self._applied.waiting():
            for cursor in await self._queries.cursors():
                position = Position(cursor.seq, cursor.log_id)
                self._applied.announce(cursor.shard, str(cursor.generation), position)

    async def _refresh_keys(self) -> None:
        await self._keyring.refresh_or_keep(self._queries)


async def _forever(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Repeat; a store that is away is somebody else's alarm."""
    while True:
        with costs_one_round(logger, "background work failed", logging.DEBUG):
            await work()
        await asyncio.sleep(pause_s)
