"""Taking turns: every round measures all systems side by side, each time in another order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import ratios
from bench.measurements import MEASUREMENTS, Measurement, Round
from bench.options import Options
from bench.ratios import Spread
from bench.stores import Postgres


@dataclass
class Outcome:
    """All figures of a run: by measurement and by ratio, one entry a round."""

    values: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""

    def spread(self, name: str) -> Spread:
        return Spread.of(self.values[name])

    def ratio_spreads(self) -> dict[str, Spread]:
        return {letter: Spread.of(values) for letter, values in self.ratios.items() if values}


def plan(options: Options) -> list[Measurement]:
    """What has to be measured for the chosen ratios, in the order of the table."""
    wanted: set[str] = set()
    for ratio in ratios.chosen(options):
        for name in ratio.measurements:
            wanted |= {name, *MEASUREMENTS[name].needs}
    return [one for one in MEASUREMENTS.values() if {one.name, one.beside} & wanted]


def order_of(measurements: list[Measurement], number: int, rounds: int) -> list[Measurement]:
    """The order of one round: rotated, and reversed every other time.

    So nothing is always first, and no two always follow each other the same way round. What
    needs others' figures comes after the rest.
    """
    free = [one for one in measurements if not one.needs]
    bound = [one for one in measurements if one.needs]
    shift = number * len(free) // rounds
    rotated = free[shift:] + free[:shift]
    if number % 2:
        return [*reversed(rotated), *reversed(bound)]
    return [*rotated, *bound]


def run(
    options: Options,
    postgres: Postgres,
    outcome: Outcome,
    on_start: Callable[[int, Measurement], None],
    on_end: Callable[[Measurement, float], None],
) -> None:
    """Take all rounds into ``outcome``, which holds what there is even if this raises.

    Raises:
        InvariantBroken: a system's books did not balance.
        MeasurementFailed: a system did not answer what it was asked for.
    """
    measurements = plan(options)
    for number in range(options.rounds):
        with (
            tempfile.TemporaryDirectory(prefix="flashstock-bench-") as directory,
            ExitStack() as stack,
        ):
            this = Round(options, number, Path(directory), postgres, stack)
            for measurement in order_of(measurements, number, options.rounds):
                on_start(number, measurement)
                measured = measurement.take(this)
                this.values[measurement.name] = measured.value
                outcome.values.setdefault(measurement.name, []).append(measured.value)
                outcome.details.setdefault(measurement.name, []).append(measured.detail)
                on_end(measurement, measured.value)
        for ratio in ratios.chosen(options):
            value = ratio.of(this.values)
            if value is not None:
                outcome.ratios.setdefault(ratio.letter, []).append(value)
