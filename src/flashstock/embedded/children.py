"""Starting a child that does not outlive us, and ending it in good order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_ORPHAN_STATUS: Final = 1


def end_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program, so that it gets ``how`` when its parent is gone.

    Linux only; elsewhere ``None``, and a child of a killed parent is found and stopped by the
    next one. The kernel watches the *thread* that starts the child: call this, and start the
    child, in the main thread.
    """
    if sys.platform != "linux":
        return None
    # Looked up before the fork: between fork and exec only the plainest calls are safe.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(how))
        if os.getppid() != parent:  # it died before the kernel was told to watch
            os._exit(_ORPHAN_STATUS)

    return arrange


async def end_process(process: Process, grace_seconds: float) -> bool:
    """Ask a process to end, and kill it when it has not after ``grace_seconds``.

    Returns:
        Whether it ended by itself.
    """
    if process.returncode is not None:
        return True
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(grace_seconds):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return False
    return True
