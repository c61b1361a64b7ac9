"""The ratios: what is divided by what, and how far we want to get.

Machines differ and are noisy, so an absolute figure says little. A ratio is formed within one
round, from two measurements taken side by side, and the run reports the median of its rounds'
ratios with their spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.options import Options

MICROSECONDS_A_SECOND: Final = 1_000_000


@dataclass(frozen=True)
class Ratio:
    """``top ÷ bottom``, each the name of a measurement (``top`` may be a constant)."""

    letter: str
    meaning: str
    top: str | int
    bottom: str
    reach: float
    at_most: bool = False
    """Whether smaller is better."""

    def of(self, values: Mapping[str, float]) -> float | None:
        """The ratio in one round, or ``None`` where a measurement is missing."""
        top = values.get(self.top) if isinstance(self.top, str) else self.top
        bottom = values.get(self.bottom)
        if top is None or not bottom:
            return None
        return top / bottom

    @property
    def measurements(self) -> tuple[str, ...]:
        return tuple(name for name in (self.top, self.bottom) if isinstance(name, str))

    def reached(self, value: float) -> bool:
        return value <= self.reach if self.at_most else value >= self.reach


RATIOS: Final[dict[str, Ratio]] = {
    ratio.letter: ratio
    for ratio in (
        Ratio("A", "reserve (fast) ÷ no-op endpoint", "fast_rps", "noop_rps", 0.65),
        Ratio("A2", "reserve (ledger) ÷ no-op endpoint", "ledger_rps", "noop_rps", 0.50),
        Ratio("A3", "sold-out answer ÷ no-op endpoint", "sold_out_rps", "noop_rps", 0.90),
        Ratio("B", "server time, one a call ÷ in batches", "engine_single_us", "engine_us", 6),
        Ratio(
            "B2",
            "reservations/s of one Valkey core, in batches",
            MICROSECONDS_A_SECOND,
            "engine_us",
            140_000,
        ),
        Ratio("C", "reserve (fast) ÷ the naive way", "fast_rps", "naive_rps", 12),
        Ratio("C_ledger", "reserve (ledger) ÷ the naive way", "ledger_rps", "naive_rps", 8),
        Ratio("D", "reserve (ledger) ÷ PostgreSQL alone", "ledger_rps", "postgres_tps", 4),
        Ratio("E", "batch endpoint ÷ single endpoint, reservations/s", "batch_rps", "fast_rps", 5),
        Ratio("F", "writer drain, events/s ÷ reserve requests/s", "drain_eps", "fast_rps", 2),
        Ratio(
            "G",
            "p99 at half saturation, ledger ÷ fast",
            "ledger_p99_ms",
            "fast_p99_ms",
            3,
            at_most=True,
        ),
        Ratio("H", "seats in groups (fast) ÷ reserve (fast)", "seats_rps", "fast_rps", 0.60),
    )
}


def chosen(options: Options) -> list[Ratio]:
    """The ratios a run is about, in the order of the table."""
    return [ratio for ratio in RATIOS.values() if not options.only or ratio.letter in options.only]


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], tuple(values))
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, tuple(values))
