"""When each visit is sent, and how fast the rush was."""

from __future__ import annotations

import asyncio
import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Sequence

from flashstock.demo.options import DemoOptions
from flashstock.demo.scenario import Phase, Visit
from flashstock.report.tally import Tally


def now_ms() -> int:
    """Wall time; service and crowd share a machine, so they share a clock."""
    return time.time_ns() // 1_000_000


class Pace:
    """Early visits come on time, the rush as fast as it can, the rest over the holds' life.

    Args:
        opens_ms: when the sale opens.
    """

    def __init__(self, opens_ms: int, tally: Tally) -> None:
        self._opens_ms = opens_ms
        self._tally = tally
        self._begun = time.monotonic()
        self._rush_began: tuple[float, int] | None = None
        self._rush_ended: tuple[float, int] | None = None

    async def wait_for(self, visit: Visit) -> None:
        """Return when the visit is due."""
        if visit.phase is Phase.EARLY:
            await _sleep_until(self._begun + visit.after_seconds)
        elif visit.phase is Phase.RUSH:
            if self._rush_began is None:
                await asyncio.sleep(max(0.0, (self._opens_ms - now_ms()) / 1000))
            self._rush_began = self._rush_began or (time.monotonic(), self._tally.requests)
        else:
            self._rush_ended = self._rush_ended or (time.monotonic(), self._tally.requests)
            await _sleep_until(self._rush_ended[0] + visit.after_seconds)

    async def play(
        self,
        visits: Sequence[Visit],
        options: DemoOptions,
        visit: Callable[[Visit, TaskGroup], Awaitable[None]],
    ) -> None:
        """Send the visits when they are due, until enough requests were sent.

        Args:
            visit: sends one; what it starts in the task group is seen through before this returns.
        """
        coming = iter(visits)

        async def work(steps: TaskGroup) -> None:
            for each in coming:
                if self._tally.requests >= options.requests:
                    return
                await self.wait_for(each)
                await visit(each, steps)

        async with TaskGroup() as steps:
            for _ in range(min(options.concurrency, len(visits))):
                steps.create_task(work(steps))

    def rush_rps(self) -> float:
        """Requests a second while nobody waited on purpose; 0 where there was no rush."""
        if self._rush_began is None:
            return 0.0
        began, requests_before = self._rush_began
        ended, requests = self._rush_ended or (time.monotonic(), self._tally.requests)
        return (requests - requests_before) / (ended - began) if ended > began else 0.0


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
