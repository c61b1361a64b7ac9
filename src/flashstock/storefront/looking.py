"""One look at a pool, or a group, serves everybody who watches it in the same moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

NAMES_MAX: Final = 1_000

_Shown = TypeVar("_Shown")


@dataclass
class _Seen(Generic[_Shown]):
    started: float
    task: asyncio.Future[_Shown]
    fresh_seconds: float


class SharedLook(Generic[_Shown]):
    """Asks for what is watched at most once in ``fresh_ms``, however many want to see it.

    A crowd that waits for the opening would otherwise ask the hot path as often as it blinks.

    Args:
        changed_ms: the same for what a visitor has just changed: he wants to see it, and
            in a rush there is always one who has.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[str], Awaitable[_Shown]],
        *,
        fresh_ms: int,
        changed_ms: int,
        clock: Callable[[], float],
    ) -> None:
        self._look = look
        self._fresh_seconds = fresh_ms / 1000
        self._changed_seconds = changed_ms / 1000
        self._clock = clock
        self._seen: OrderedDict[str, _Seen[_Shown]] = OrderedDict()

    async def of(self, name: str) -> _Shown:
        """It as it was at most ``fresh_ms`` before the look that is answered now.

        Raises what the look raises; a look that failed is not kept.
        """
        seen = self._seen.get(name)
        if seen is None or self._is_stale(seen):
            task = asyncio.ensure_future(self._look(name))
            seen = _Seen(self._clock(), task, self._fresh_seconds)
            self._seen[name] = seen
            self._seen.move_to_end(name)
            while len(self._seen) > NAMES_MAX:
                self._seen.popitem(last=False)
        # Whoever leaves must not take the answer from those who wait for the same one.
        return await asyncio.shield(seen.task)

    def changed(self, name: str) -> None:
        """A visitor has just changed what there is to see."""
        if name in self._seen:
            self._seen[name].fresh_seconds = self._changed_seconds

    def _is_stale(self, seen: _Seen[_Shown]) -> bool:
        if not seen.task.done():
            return False
        failed = seen.task.cancelled() or seen.task.exception() is not None
        return failed or self._clock() - seen.started > seen.fresh_seconds
