"""How fast the writer empties a log that grew while no writer ran."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from bench.processes import CpuMeter, running
from bench.systems import InvariantBroken, Service

DRAIN_TIMEOUT_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.02
BACKLOG_EVENTS_MAX: Final = 50_000_000
"""Admission must not stop while the log is being filled."""


def writer_arguments() -> list[str]:
    """The writer as a process of its own, as an operator would run it."""
    return [sys.executable, "-m", "flashstock", "writer"]


def drain(service: Service, directory: Path) -> tuple[float, int, dict[str, float]]:
    """Start a writer on what is in the log: (events a second, events, cores by process).

    The clock runs from the last look at which nothing was committed yet, so the start of the
    interpreter is not in it, but the first transaction is.

    Raises:
        InvariantBroken: it does not get to the end.
    """
    ended_at = 0.0
    decided, before = service.shard_positions()
    with running("writer", writer_arguments(), directory, service.environment) as writer:
        started_at = time.monotonic()
        give_up_at = started_at + DRAIN_TIMEOUT_SECONDS
        with CpuMeter({"writer": writer.pid}) as meter:
            while True:
                asked_at = time.monotonic()
                applied = service.shard_positions()[1]
                if applied == before:
                    started_at = asked_at
                elif applied >= decided:
                    ended_at = time.monotonic()
                    break
                if asked_at > give_up_at:
                    raise InvariantBroken(f"the writer stands at {applied} of {decided}")
                time.sleep(POLL_SECONDS)
        service.reconcile()
    events = decided - before
    return events / (ended_at - started_at), events, meter.cores
