"""Keeps a recent reconciliation at hand for the metrics, without anyone waiting for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flashstock.errors import FlashstockError
from flashstock.rounds import costs_one_round

INTERVAL_SECONDS: Final = 60.0
"""A reconciliation reads everything, so scrapes get one that is at most about this old."""
FOLLOW_SECONDS: Final = 5.0
"""How often this process looks for what the service's own watch has found."""

_log = logging.getLogger("flashstock.api.proof")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a reconciliation found, in numbers."""

    invariants: Mapping[str, bool]
    numbers: Mapping[str, int]
    finished_at_s: float


class ProofWatch:
    """Takes over what the service's own watch finds, round by round.

    Where no watch runs, it runs a reconciliation itself whenever one is wanted and the last one
    is old.
    """

    def __init__(self, report: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._report = report
        self._task: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._started_at_s = 0.0
        self.last: Proof | None = None

    def follow(self, last_round: Callable[[], Awaitable[dict[str, Any] | None]]) -> None:
        """Look again and again at what the watch found last."""
        self._following = asyncio.get_running_loop().create_task(self._follow(last_round))

    def wanted(self) -> None:
        """Start one unless one is running, or the last one started less than a minute ago."""
        now_s = time.monotonic()
        if self._task is not None and not self._task.done():
            return
        if self._started_at_s and now_s - self._started_at_s < INTERVAL_SECONDS:
            return
        self._started_at_s = now_s
        self._task = asyncio.get_running_loop().create_task(self._run())

    def found(self, report: Mapping[str, Any], at_s: float | None = None) -> None:
        """Take over a report, whoever asked for it, as of now or of an earlier time."""
        numbers = {name: value for name, value in report.items() if isinstance(value, int)}
        finished_at_s = time.time() if at_s is None else at_s
        self.last = Proof(dict(report["invariants"]), numbers, finished_at_s)

    async def stop(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = [task for task in (self._task, self._following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, last_round: Callable[[], Awaitable[dict[str, Any] | None]]) -> None:
        while True:
            document = None
            with costs_one_round(_log, "no news of the watch", logging.DEBUG):
                document = await last_round()
            if document is not None:
                at_s = datetime.fromisoformat(document["at"]).timestamp()
                if self.last is None or at_s > self.last.finished_at_s:
                    self._started_at_s = time.monotonic()
                    self.found(document, at_s)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _run(self) -> None:
        try:
            self.found(await self._report())
        except FlashstockError as problem:
            _log.warning("no reconciliation for the metrics: %s", problem)
