"""One look at a pool serves everybody who watches it in the same moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from flashstock.client import Pool

POOLS_MAX: Final = 1_000


class SharedLook:
    """Asks for a pool at most once in ``fresh_ms``, however many want to see it.

    A crowd that waits for the opening would otherwise ask the hot path as often as it blinks.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[str], Awaitable[Pool]],
        *,
        fresh_ms: int,
        clock: Callable[[], float],
    ) -> None:
        self._look = look
        self._fresh_seconds = fresh_ms / 1000
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, asyncio.Task[Pool]]] = OrderedDict()

    async def pool(self, name: str) -> Pool:
        """The pool as it was at most ``fresh_ms`` before the look that is answered now.

        Raises what the look raises; a look that failed is not kept.
        """
        seen = self._seen.get(name)
        if seen is None or self._is_stale(*seen):
            seen = (self._clock(), asyncio.ensure_future(self._look(name)))
            self._seen[name] = seen
            self._seen.move_to_end(name)
            while len(self._seen) > POOLS_MAX:
                self._seen.popitem(last=False)
        # Whoever leaves must not take the answer from those who wait for the same one.
        return await asyncio.shield(seen[1])

    def forget(self, name: str) -> None:
        """Let the next look be a new one: the buyer has just changed what there is to see."""
        self._seen.pop(name, None)

    def _is_stale(self, started: float, task: asyncio.Task[Pool]) -> bool:
        if not task.done():
            return False
        failed = task.cancelled() or task.exception() is not None
        return failed or self._clock() - started > self._fresh_seconds
