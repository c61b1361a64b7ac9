"""A run as a table, a chart and a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measurements import MEASUREMENTS
from bench.options import Options
from bench.ratios import RATIOS, Spread
from bench.rounds import Outcome


def document(outcome: Outcome, options: Options, environment: dict[str, Any]) -> dict[str, Any]:
    """What ``--json`` prints and what is kept: the ratios, and everything they come from."""
    spreads = outcome.ratio_spreads()
    return {
        "ratios": {letter: round(spread.median, 3) for letter, spread in spreads.items()},
        "raw": {
            "failure": outcome.failure,
            "environment": environment,
            "options": {**asdict(options), "only": list(options.only)},
            "spreads": {letter: asdict(spread) for letter, spread in spreads.items()},
            "measurements": {
                name: {
                    "title": MEASUREMENTS[name].title,
                    "unit": MEASUREMENTS[name].unit,
                    **asdict(outcome.spread(name)),
                    "details": outcome.details[name],
                }
                for name in outcome.values
            },
        },
    }


def print_tables(console: Console, outcome: Outcome, notes: list[str]) -> None:
    """The figures, then the ratios, then what a reader should know."""
    console.print(_figures(outcome))
    console.print(_ratios(outcome))
    for note in notes:
        console.print(f"note: {note}", style="yellow", highlight=False)


def _figures(outcome: Outcome) -> Table:
    table = Table(title="Measured (median of the rounds, and the middle half of them)")
    table.add_column("what")
    for name in ("median", "from", "to"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for name in sorted(outcome.values, key=list(MEASUREMENTS).index):
        measurement, spread = MEASUREMENTS[name], outcome.spread(name)
        table.add_row(measurement.title, *_shown(spread), measurement.unit)
    return table


def _ratios(outcome: Outcome) -> Table:
    table = Table(title="Ratios (formed within each round)")
    for name in ("", "ratio"):
        table.add_column(name)
    for name in ("median", "from", "to", "to reach"):
        table.add_column(name, justify="right")
    table.add_column("reached")
    for letter, spread in outcome.ratio_spreads().items():
        ratio = RATIOS[letter]
        reached = ratio.reached(spread.median)
        table.add_row(
            letter,
            ratio.meaning,
            *_shown(spread),
            f"{'≤' if ratio.at_most else '≥'} {ratio.reach:,g}",
            "[green]yes[/]" if reached else "[red]no[/]",
        )
    return table


def _shown(spread: Spread) -> tuple[str, str, str]:
    return figure(spread.median), figure(spread.low), figure(spread.high)


def figure(value: float) -> str:
    """Three significant digits, or whole thousands-separated units above that."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def draw_chart(outcome: Outcome, environment: dict[str, Any], path: Path) -> None:
    """Throughput side by side, and every ratio against what it should reach, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12, 6), layout="constrained")
    FigureCanvasAgg(drawing)
    left, right = drawing.subplots(1, 2)
    names = [name for name in MEASUREMENTS if name in outcome.values and name.endswith("ps")]
    _bars(
        left,
        [MEASUREMENTS[name].title for name in names],
        [outcome.spread(name) for name in names],
    )
    left.set_xscale("log")
    left.set_title("a second (log scale; whiskers: middle half of the rounds)")
    letters = list(outcome.ratio_spreads())
    scaled = [_towards(letter, outcome.ratio_spreads()[letter]) for letter in letters]
    _bars(right, letters, scaled)
    right.axvline(1.0, color="black", linewidth=1)
    right.set_title("ratios as a share of what they should reach (1 = reached)")
    drawing.suptitle(
        f"flashstock {environment['commit']} · {environment['cpu_count']} cores ·"
        f" {environment['at']}"
    )
    drawing.savefig(path, dpi=120)


def _towards(letter: str, spread: Spread) -> Spread:
    """A ratio as a share of its reach; above 1 is better, whichever way the ratio points."""
    ratio = RATIOS[letter]
    if ratio.at_most:
        shares = [ratio.reach / value for value in (spread.median, spread.high, spread.low)]
    else:
        shares = [value / ratio.reach for value in (spread.median, spread.low, spread.high)]
    return Spread(shares[0], shares[1], shares[2], ())


def _bars(axes: Any, labels: list[str], spreads: list[Spread]) -> None:
    medians = [spread.median for spread in spreads]
    whiskers = [
        [spread.median - spread.low for spread in spreads],
        [spread.high - spread.median for spread in spreads],
    ]
    axes.barh(labels, medians, xerr=whiskers, capsize=3, color="#4c72b0")
    axes.invert_yaxis()
