"""Counts and latencies of one run. It lives in one event loop and needs no lock."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable


class Tally:
    """Told of every send by the client, and of every refusal by whoever met it.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._latencies = array("d")
        self.sent: Counter[str] = Counter()
        """Requests by what they were for."""
        self.refused: Counter[str] = Counter()
        """Refusals by code."""
        self.sent_again = 0
        """Requests that a 503 or a missing answer made the client repeat."""

    def observe(self, purpose: str, status: int | None, seconds: float) -> None:
        """Count one send; ``status`` is ``None`` where no answer came."""
        self.sent[purpose] += 1
        if status is None or status >= 500:
            self.sent_again += 1
        self._latencies.append(seconds * 1000)

    @property
    def requests(self) -> int:
        return len(self._latencies)

    @property
    def seconds(self) -> float:
        """Since the tally was made."""
        return self._clock() - self._started

    def latency_ms(self) -> dict[str, float]:
        """The median and the 99th percentile; zeros where nothing was sent."""
        ordered = sorted(self._latencies)
        return {"p50": percentile(ordered, 50), "p99": percentile(ordered, 99)}


def percentile(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile of ascending values, rounded to µs where they are ms."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[max(0, rank - 1)], 3)
