"""One look at a pool serves everybody who watches it in the same moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from flashstock.client import Pool

POOLS_MAX: Final = 1_000


@dataclass
class _Seen:
    started: float
    task: asyncio.Task[Pool]
    fresh_seconds: float


class SharedLook:
    """Asks for a pool at most once in ``fresh_ms``, however many want to see it.

    A crowd that waits for the opening would otherwise ask the hot path as often as it blinks.

    Args:
        changed_ms: the same for a pool that a visitor has just changed: he wants to see it, and
            in a rush there is always one who has.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[str], Awaitable[Pool]],
        *,
        fresh_ms: int,
        changed_ms: int,
        clock: Callable[[], float],
    ) -> None:
        self._look = look
        self._fresh_seconds = fresh_ms / 1000
        self._changed_seconds = changed_ms / 1000
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def pool(self, name: str) -> Pool:
        """The pool as it was at most ``fresh_ms`` before the look that is answered now.

        Raises what the look raises; a look that failed is not kept.
        """
        seen = self._seen.get(name)
        if seen is None or self._is_stale(seen):
            task = asyncio.ensure_future(self._look(name))
            seen = _Seen(self._clock(), task, self._fresh_seconds)
            self._seen[name] = seen
            self._seen.move_to_end(name)
            while len(self._seen) > POOLS_MAX:
                self._seen.popitem(last=False)
        # Whoever leaves must not take the answer from those who wait for the same one.
        return await asyncio.shield(seen.task)

    def changed(self, name: str) -> None:
        """A visitor has just changed what there is to see."""
        if name in self._seen:
            self._seen[name].fresh_seconds = self._changed_seconds

    def _is_stale(self, seen: _Seen) -> bool:
        if not seen.task.done():
            return False
        failed = seen.task.cancelled() or seen.task.exception() is not None
        return failed or self._clock() - seen.started > seen.fresh_seconds
