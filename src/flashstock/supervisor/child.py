"""One child process that is started again whenever it dies, within reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import Final

from flashstock.embedded.children import end_process
from flashstock.errors import ConfigurationError, FlashstockError

RESTARTS_MAX: Final = 5
"""Deaths in a row, each before ``STABLE_SECONDS``, after which starting again is no use."""
STABLE_SECONDS: Final = 10.0
REFUSED_STATUS: Final = 2
"""A process of ours ends so when its settings or stores can't be used, having said why."""
BACKOFF_FIRST_SECONDS: Final = 0.1
BACKOFF_MAX_SECONDS: Final = 1.0

Starter = Callable[[], Awaitable[Process]]

_log = logging.getLogger("flashstock.supervisor")


class CrashLoop(FlashstockError):
    code = "crash_loop"
    title = "A process of ours keeps dying"


class Child:
    """A process and its successors.

    Args:
        name: what logs call it.
        start: starts one process; it is asked again after every death.
        on_change: told whenever another process has taken its place.
    """

    def __init__(self, name: str, start: Starter, on_change: Callable[[], None]) -> None:
        self.name = name
        self._start = start
        self._on_change = on_change
        self._process: Process | None = None
        self._first: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def supervise(self) -> asyncio.Task[None]:
        """Start it and keep it running, until ``stop``.

        The task raises ``CrashLoop`` when it died more than ``RESTARTS_MAX`` times in a row
        without ever living ``STABLE_SECONDS``, ``ConfigurationError`` when its first process
        refused to start, and whatever ``start`` raises.
        """
        self._task = asyncio.create_task(self._run(), name=self.name)
        return self._task

    async def first_process(self) -> Process:
        """The process of the first start."""
        return await asyncio.shield(self._first)

    async def stop(self, grace_seconds: float) -> None:
        """End it, by force where it does not go within the grace. Idempotent."""
        self._stopping.set()
        if self._process is not None and not await end_process(self._process, grace_seconds):
            _log.warning("%s did not end within %g s and was killed", self.name, grace_seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def kill(self) -> None:
        """End it at once; ``stop`` still has to be awaited."""
        self._stopping.set()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _run(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            started_at = time.monotonic()
            self._process = await self._start()
            is_first = not self._first.done()
            if is_first:
                self._first.set_result(self._process)
            self._on_change()
            status = await self._process.wait()
            if self._stopping.is_set():
                return
            was_stable = time.monotonic() - started_at >= STABLE_SECONDS
            deaths = 1 if was_stable else deaths + 1
            reason = f"{self.name} (process {self._process.pid}) {_ended(status)}"
            if is_first and not was_stable and status == REFUSED_STATUS:
                raise ConfigurationError(f"{self.name} can't start; its message stands above")
            if deaths > RESTARTS_MAX:
                raise CrashLoop(f"{reason}, for the {deaths}th time in a row; see its log above")
            _log.error("%s; starting it again", reason)
            await asyncio.sleep(min(BACKOFF_FIRST_SECONDS * 2 ** (deaths - 1), BACKOFF_MAX_SECONDS))


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
