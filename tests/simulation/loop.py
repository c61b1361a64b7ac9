"""An event loop on virtual time: one thread, no I/O, and an order of events drawn from a seed.

Whatever is ready runs in random order, so nothing can rely on the order in which it became ready.
Time moves only when nothing is ready: a second of waiting costs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, Final

ENDING_STEPS_MAX: Final = 100


class Stuck(Exception):
    """What should come to an end did not: everybody waits, or time is up."""


class Process:
    """A process of the simulated system. What it runs stops between two steps and for good when
    it is killed: no handler and no ``finally`` of it runs any more, as with SIGKILL."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self.backlog: list[asyncio.Handle] = []
        """What became ready while it was paused (SIGSTOP, a long garbage collection)."""
        self.clock_offset_ms = 0


RUNNING: Final[ContextVar[Process | None]] = ContextVar("RUNNING", default=None)


def running_process() -> Process:
    """The process that asks."""
    process = RUNNING.get()
    assert process is not None
    return process


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Just what coroutines, futures, tasks and timeouts need of a loop."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._now = 0.0
        self._ready: list[tuple[asyncio.Handle, Process | None]] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process | None]] = []
        self._tickets = count()
        self._tasks: list[asyncio.Task[Any]] = []
        self.nature = Context()
        """Runs what happens whoever is alive: the network, the servers, the faults."""
        self.steps = 0
        self._stopped = False
        self.accidents: list[str] = []
        """Exceptions that nobody caught."""

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        # A task of a killed process must not be collected: that would run its handlers.
        self._tasks.append(task)
        return task

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work as a task of a process; the tasks it starts are that process's too."""
        context = Context()
        context.run(RUNNING.set, process)
        return self.create_task(work, context=context)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((handle, context.get(RUNNING)))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        entry = (max(when, self._now), next(self._tickets), handle, context.get(RUNNING))
        heapq.heappush(self._timers, entry)
        return handle

    def naturally(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Do something after a delay, whoever is killed meanwhile."""
        self.call_later(delay, callback, *args, context=self.nature)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if failure is not None:
            self.accidents.append(f"{context.get('message')}: {failure!r}")

    def stop(self) -> None:
        """End ``run_until`` after this step."""
        self._stopped = True

    def discard(self) -> None:
        """End what is under way, the tasks of killed processes too, since the garbage collector
        would: handlers then run without a loop, and in any order.
        """
        asyncio._set_running_loop(self)
        try:
            for task in reversed(self._tasks):  # what a task waits for began later
                _end(task.get_coro())
        finally:
            asyncio._set_running_loop(None)

    def resume(self, process: Process) -> None:
        """Let a paused process go on."""
        process.paused = False
        self._ready += [(handle, process) for handle in process.backlog]
        process.backlog.clear()

    def run_until(self, awaited: asyncio.Future[Any], limit_s: float) -> Any:
        """Run until ``awaited`` is done and return its result.

        Raises:
            Stuck: nothing is left to happen, or virtual time passed ``limit_s``.
        """
        ready, draw = self._ready, self._random.random
        while not awaited.done():
            if self._stopped:
                return None
            if not ready:
                self._advance(limit_s)
                continue
            index = int(draw() * len(ready))
            handle, process = ready[index]
            ready[index] = ready[-1]
            ready.pop()
            if handle.cancelled():
                continue
            if process is not None and (process.dead or process.paused):
                if not process.dead:
                    process.backlog.append(handle)
                continue
            self.steps += 1
            handle._run()
        return awaited.result()

    def _advance(self, limit_s: float) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stuck("everybody waits for somebody else")
        self._now = timers[0][0]
        if self._now > limit_s:
            raise Stuck(f"not over after {limit_s} s")
        while timers and timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(timers)
            self._ready.append((handle, process))

    def __enter__(self) -> SimulatedLoop:
        asyncio._set_running_loop(self)
        return self

    def __exit__(self, *failure: object) -> None:
        asyncio._set_running_loop(None)


def _end(work: Any) -> None:
    """Cancel a coroutine wherever it waits, until it waits no more."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()
    for _ in range(ENDING_STEPS_MAX):
        if inspect.getcoroutinestate(work) != inspect.CORO_SUSPENDED:
            break
        with suppress(asyncio.CancelledError, RuntimeError, StopIteration):
            work.throw(asyncio.CancelledError())


def simulated_loop(random: Random) -> SimulatedLoop:
    """A loop, though most of what a loop may be asked for is missing: nobody asks."""
    kind: Any = SimulatedLoop
    loop: SimulatedLoop = kind(random)
    return loop
