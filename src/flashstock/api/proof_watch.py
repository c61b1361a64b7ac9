"""Keeps a recent reconciliation at hand for the metrics, without anyone waiting for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flashstock.errors import FlashstockError

INTERVAL_SECONDS: Final = 60.0
"""A reconciliation reads everything, so scrapes get one that is at most about this old."""

_log = logging.getLogger("flashstock.api.proof")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a reconciliation found, in numbers."""

    invariants: Mapping[str, bool]
    numbers: Mapping[str, int]
    finished_at_s: float


class ProofWatch:
    """Runs a reconciliation in the background whenever one is wanted and the last one is old.

    Nobody scrapes, nothing runs.
    """

    def __init__(self, report: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._report = report
        self._task: asyncio.Task[None] | None = None
        self._started_at_s = 0.0
        self.last: Proof | None = None

    def wanted(self) -> None:
        """Start one unless one is running, or the last one started less than a minute ago."""
        now_s = time.monotonic()
        if self._task is not None and not self._task.done():
            return
        if self._started_at_s and now_s - self._started_at_s < INTERVAL_SECONDS:
            return
        self._started_at_s = now_s
        self._task = asyncio.get_running_loop().create_task(self._run())

    def found(self, report: Mapping[str, Any]) -> None:
        """Take over a report, whoever asked for it."""
        numbers = {name: value for name, value in report.items() if isinstance(value, int)}
        self.last = Proof(dict(report["invariants"]), numbers, time.time())

    async def stop(self) -> None:
        """Cancel what runs and wait for it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            self.found(await self._report())
        except FlashstockError as problem:
            _log.warning("no reconciliation for the metrics: %s", problem)
