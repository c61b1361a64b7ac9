"""Run a program, and the service it needs, so that whatever ends it ends in order."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import uvloop

from flashstock.client import LocalService

STATUS_INTERRUPTED: Final = 130
STATUS_TERMINATED: Final = 143


def run_to_end(main: Coroutine[Any, Any, int]) -> int:
    """The exit status of ``main``, or of the signal that ended it (128 + its number).

    Ctrl-C and SIGTERM cancel ``main``, which gets the time to stop what it started.
    """
    terminated = False

    async def supervised() -> int:
        nonlocal terminated
        task = asyncio.ensure_future(main)

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await task

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(supervised())
    except asyncio.CancelledError:
        if not terminated:
            raise
        return STATUS_TERMINATED
    except KeyboardInterrupt:
        return STATUS_INTERRUPTED


async def on_service_of_its_own(
    service: LocalService,
    work: Callable[[str], Coroutine[Any, Any, int]],
    *,
    stay: bool = False,
) -> int:
    """The result of ``work`` (which is told the address) on a service that runs as long.

    Args:
        stay: go on after the work until somebody ends it, so that there is time to look.

    Raises:
        ServiceFailed: the service did not start, or ended before ``work`` did.
    """
    async with service:
        say(f"the service runs at {service.url}; watch it at {service.url}/console")
        status = await service.while_alive(work(service.url))
        if stay:
            say(
                f"the service stays up: look around at {service.url}/console, buy at"
                f" {service.url}/demo; Ctrl-C ends it"
            )
            with suppress(asyncio.CancelledError):
                await service.while_alive(_for_ever())
        if service.keep:
            say(
                f"the service goes on at {service.url} with its data in {service.data_dir};"
                f" `kill {service.pid}` ends it"
            )
    return status


async def _for_ever() -> None:
    await asyncio.Event().wait()


def say(text: str) -> None:
    """Words on the way go to stderr: stdout is for the report."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
