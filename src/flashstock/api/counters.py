"""Counting on the hot path costs an addition; what it means is worked out when someone asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from flashstock.hotpath.scripts import Verdict

BATCH_SIZE_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
SCRIPT_SECONDS_BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMIT_SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.5)
"""The last one is about where who waits is answered 503 (``FLASHSTOCK_APPLIED_TIMEOUT_MS``)."""

POOLS_COUNTED_MAX: Final = 10_000
"""Pools and reasons that are counted between two flushes; what is not there has no pool at all."""


class Buckets:
    """A histogram: how many observations were at most each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.total += value
        for index, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1

    def cumulative(self) -> list[tuple[str, float]]:
        """(bound as text, observations up to it), the last one ``+Inf``."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        running = 0
        pairs = []
        for name, count in zip(names, self.counts, strict=True):
            running += count
            pairs.append((name, float(running)))
        return pairs


class HotCounters:
    """What one API process has done since it started. Used by one event loop only.

    It observes the lanes (``hotpath.lanes.Observer``).
    """

    __slots__ = (
        "_refusals",
        "answers",
        "batch_sizes",
        "commit_seconds",
        "script_seconds",
        "verdicts",
    )

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str, int, str]] = Counter()
        """(method, route, status, problem code or empty) → answers."""
        self.verdicts = [0] * len(Verdict)
        """By ``Verdict``: what became of each reservation asked for, alone or in a batch."""
        self._refusals: dict[tuple[str, int], int] = {}
        self.batch_sizes = Buckets(BATCH_SIZE_BOUNDS)
        self.script_seconds = Buckets(SCRIPT_SECONDS_BOUNDS)
        self.commit_seconds = Buckets(COMMIT_SECONDS_BOUNDS)

    def answered(self, method: str, route: str, status: int, code: str = "") -> None:
        """One request was answered."""
        self.answers[method, route, status, code] += 1

    def decided(self, pool: str, batch: Sequence[object], seconds: float) -> None:  # noqa: ARG002
        """One call of the reserve script decided these requests."""
        self.batch_sizes.observe(len(batch))
        self.script_seconds.observe(seconds)

    def committed(self, pool: str, seconds: float) -> None:  # noqa: ARG002
        """What a batch granted was committed so long after it had been decided."""
        self.commit_seconds.observe(seconds)

    def refused(self, pool: str, verdict: int) -> None:
        """One reservation was refused; at most ``POOLS_COUNTED_MAX`` pools and reasons are told."""
        key = (pool, verdict)
        refusals = self._refusals
        if key in refusals:
            refusals[key] += 1
        elif len(refusals) < POOLS_COUNTED_MAX and verdict != Verdict.UNKNOWN_POOL:
            refusals[key] = 1

    def take_refusals(self) -> dict[tuple[str, str], int]:
        """(pool, reason) → refusals since it was asked before."""
        taken, self._refusals = self._refusals, {}
        return {
            (pool, Verdict(verdict).name.lower()): count for (pool, verdict), count in taken.items()
        }
