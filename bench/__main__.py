"""``python -m bench``: measure, reconcile, report. README.md says how to read the result."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx
from rich.console import Console

from bench import environment, rounds
from bench.options import RESULTS, SMOKE, Options
from bench.ratios import RATIOS
from bench.reporting import document, draw_chart, figure, print_tables
from bench.rounds import Outcome
from bench.stores import postgres

FAILED: Final = 1


def parse(arguments: list[str]) -> tuple[Options, bool, bool]:
    """The options, whether stdout is JSON, and whether this is the reference run."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure flashstock against a no-op endpoint and against what a user would"
        " write. Ends with 1 if an invariant broke; a ratio that is not reached is no failure.",
    )
    parser.add_argument("--rounds", type=_at_least_one, help=f"default {Options.rounds}")
    parser.add_argument("--seconds", type=float, help=f"of load each; default {Options.seconds}")
    parser.add_argument("--connections", type=_at_least_one, help=f"{Options.connections}")
    parser.add_argument("--workers", type=_at_least_one, help=f"default {Options.workers}")
    parser.add_argument("--server", choices=("uvicorn", "granian"), help="default uvicorn")
    parser.add_argument("--only", type=_letters, help=f"some of {','.join(RATIOS)}")
    parser.add_argument("--smoke", action="store_true", help="tiny: does everything still run?")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, only")
    parser.add_argument("--reference", action="store_true", help="keep as results/reference.*")
    given = parser.parse_args(arguments)
    names = ("rounds", "seconds", "connections", "workers", "server", "only")
    changes = {name: value for name in names if (value := getattr(given, name)) is not None}
    return replace(SMOKE if given.smoke else Options(), **changes), given.json, given.reference


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _letters(text: str) -> tuple[str, ...]:
    letters = tuple(text.split(","))
    unknown = [letter for letter in letters if letter not in RATIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} are none of {list(RATIOS)}")
    return letters


def measure(options: Options, console: Console) -> tuple[Outcome, dict[str, Any]]:
    """Take all rounds, telling ``console`` about each figure as it comes."""
    outcome = Outcome()
    clients = options.connections
    with postgres(clients) as database_server:
        described = environment.describe(database_server)
        for line in environment.warnings(described):
            console.print(f"note: {line}", style="yellow", highlight=False)
        measurements = rounds.plan(options)
        console.print(f"{options.rounds} rounds of {len(measurements)} measurements")
        try:
            rounds.run(
                options,
                database_server,
                outcome,
                lambda number, one: console.print(f"  {number + 1}: {one.title} … ", end=""),
                lambda one, value: console.print(f"{figure(value)} {one.unit}"),
            )
        except (RuntimeError, httpx.HTTPError) as problem:
            notes = getattr(problem, "__notes__", [])
            outcome.failure = "\n".join([f"{type(problem).__name__}: {problem}", *notes])
            console.print(f"\n{outcome.failure}", style="red", markup=False)
    return outcome, described


def save(
    outcome: Outcome,
    options: Options,
    result: dict[str, Any],
    described: dict[str, Any],
    *,
    reference: bool,
) -> Path:
    """Write the JSON and the chart; the path of the JSON."""
    at = described["at"].replace(":", "-").removesuffix("+00-00")
    stem = "reference" if reference else f"{at}-{described['commit']}"
    if options.smoke:
        stem = "smoke"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{stem}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if outcome.values:
        draw_chart(outcome, described, path.with_suffix(".png"))
    return path


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signal's signature)
    sys.exit(128 + number)


def main() -> int:
    # SIGTERM unwinds the stack, so that every process we started is stopped.
    signal.signal(signal.SIGTERM, _leave)
    options, as_json, reference = parse(sys.argv[1:])
    console = Console(stderr=True)
    outcome, described = measure(options, console)
    result = document(outcome, options, described)
    path = save(outcome, options, result, described, reference=reference)
    print_tables(console if as_json else Console(), outcome, environment.warnings(described))
    console.print(f"kept in {path}")
    if as_json:
        print(json.dumps(result))
    return FAILED if outcome.failure else 0


if __name__ == "__main__":
    sys.exit(main())
