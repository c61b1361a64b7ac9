"""``python -m bench.overload``: three times what it can take, for some seconds.

What the service owes a crowd it can't serve: to say so at once (503 with Retry-After), to go on
serving about as many as at its best, not to grow, and to forget none of those it said yes to.

The crowd comes open loop, each on a connection of its own as long as there are any, whether or not
earlier ones were answered. Generator and service get cores of their own where there is more than
one: a generator that takes the service's cores would be measured instead of it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from bench import environment, load
from bench.load import Load
from bench.options import RESULTS, SMOKE, Options
from bench.reporting import figure
from bench.stores import Postgres, postgres, valkey
from bench.systems import InvariantBroken, Service, service

SAMPLE_SECONDS: Final = 0.1
IDS_PER_QUERY: Final = 10_000
GOODPUT_SHARE: Final = 0.8
"""Of its peak, to be kept under overload."""
DURABILITIES: Final = ("fast", "ledger")
FAILED: Final = 1


@dataclass(frozen=True)
class Crowd:
    """How many come, how fast, for how long."""

    factor: float = 3.0
    """Of the peak."""
    seconds: float = 10.0
    connections: int = 4_096
    peak_seconds: float = 6.0


QUICK: Final = Crowd(seconds=2.0, connections=512, peak_seconds=1.0)


class MemoryMeter:
    """Resident memory (MB) of each named process over a block: first, most, last."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._samples: dict[str, list[float]] = {name: [] for name in processes}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> MemoryMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for name, process in self._processes.items():
                self._samples[name].append(process.memory_info().rss / 1e6)
            if self._over.wait(SAMPLE_SECONDS):
                return

    @property
    def found(self) -> dict[str, dict[str, float]]:
        return {
            name: {"before_mb": found[0], "most_mb": max(found), "after_mb": found[-1]}
            for name, found in self._samples.items()
        }


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """This process, and what it starts meanwhile, on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def split_cores() -> tuple[set[int], set[int]]:
    """The service's cores and the generator's: the last one, if there is more than one."""
    *first, last = sorted(os.sched_getaffinity(0))
    return set(first) or {last}, {last}


def measure(
    options: Options, crowd: Crowd, durability: str, database: Postgres, directory: Path
) -> dict[str, Any]:
    """Peak, overload and afterwards, on one service; then the books.

    Raises:
        InvariantBroken: something acknowledged is not in SQL, or reconciliation found something.
    """
    for_service, for_generator = split_cores()
    with (
        on_cores(for_service),
        valkey(directory) as store,
        database.fresh_database("overload") as name,
        service(options, directory, store, database.url(name)) as running,
    ):
        for pid in (database.pid, *_descendants(database.pid)):
            os.sched_setaffinity(pid, for_service)
        running.create_pool(durability)
        pids = running.pids(database, store)
        del pids["postgres"]
        with on_cores(for_generator):
            peak = _peak(options, crowd, running, "peak")
            kept = directory / f"acknowledged-{durability}"
            with MemoryMeter(pids) as memory:
                report = _storm(crowd, running, peak * crowd.factor, kept)
            # A `ledger` pool's promise is that they are committed already.
            if durability == "ledger":
                missing_at_once = missing(database, name, kept)
            else:
                running.wait_until_applied()
                missing_at_once = missing(database, name, kept)
            after = _peak(options, crowd, running, "after")
        books = running.reconcile()
        acknowledged = len(acknowledged_ids(kept))
    if missing_at_once:
        raise InvariantBroken(f"{missing_at_once} of {acknowledged} acknowledged are not in SQL")
    return {
        "durability": durability,
        "peak_rps": peak,
        **_summary(report, crowd, peak),
        "after_rps": after,
        "memory": memory.found,
        "acknowledged": acknowledged,
        "missing": missing_at_once,
        "reconciliation": books,
        "generator": report,
    }


def _descendants(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _planned(crowd: Crowd, running: Service, tag: str) -> Load:
    return Load(
        url=running.url,
        pool=running.pool,
        tag=tag,
        connections=crowd.connections,
        seconds=crowd.seconds,
        api_key=running.api_key,
    )


def _peak(options: Options, crowd: Crowd, running: Service, tag: str) -> float:
    """Answers 201 a second at the suite's usual closed-loop load."""
    planned = replace(
        _planned(crowd, running, tag),
        connections=options.connections,
        seconds=crowd.peak_seconds,
    )
    load.warm_up(planned, options.warm_up_seconds)
    result = load.run(planned)
    return result.rate_of(result.succeeded)


def _storm(crowd: Crowd, running: Service, rate: float, kept: Path) -> dict[str, Any]:
    mode = ["--rate", str(rate), "--turn-away", "--acknowledged", str(kept)]
    summary, cores = load.run_driver(_planned(crowd, running, "storm"), mode)
    return {**summary, "cores": cores}


def _summary(report: dict[str, Any], crowd: Crowd, peak: float) -> dict[str, Any]:
    """What the crowd got while it came; what was answered later is not goodput."""
    whole = int(crowd.seconds)
    by_status = report["by_status"]
    good = sum(by_status.get("201", {}).get("by_second", [])[:whole]) / whole
    others = sum(n for status, n in report["statuses"].items() if status not in {"201", "503"})
    return {
        "offered_rps": report["rate"],
        "answered_rps": report["answered"] / crowd.seconds,
        "goodput_rps": good,
        "goodput_share": good / peak,
        "served_p50_ms": by_status.get("201", {}).get("p50_ms"),
        "served_p99_ms": by_status.get("201", {}).get("p99_ms"),
        "refused": report["statuses"].get("503", 0),
        "refused_p50_ms": by_status.get("503", {}).get("p50_ms"),
        "refused_p99_ms": by_status.get("503", {}).get("p99_ms"),
        "refused_without_retry_after": report["without_retry_after"],
        "turned_away": report["turned_away"],
        "unanswered": report["unanswered"],
        "other_answers": others,
    }


def acknowledged_ids(kept: Path) -> list[str]:
    """The reservations that were said yes to."""
    return [orjson.loads(line)["id"] for line in kept.read_bytes().splitlines() if line]


def missing(database: Postgres, name: str, kept: Path) -> int:
    """How many of them SQL does not have."""
    ids = acknowledged_ids(kept)
    found = 0
    for start in range(0, len(ids), IDS_PER_QUERY):
        page = ids[start : start + IDS_PER_QUERY]
        [(count,)] = database.fetch(
            "SELECT count(*) FROM reservations WHERE id = ANY($1)", name, page
        )
        found += count
    return len(ids) - found


def print_table(console: Console, results: list[dict[str, Any]]) -> None:
    table = Table(title="Overload")
    table.add_column("")
    for result in results:
        table.add_column(result["durability"], justify="right")
    for name, value in results[0].items():
        if isinstance(value, int | float) or value is None:
            table.add_row(name, *(_shown(result[name]) for result in results))
    for process in results[0]["memory"]:
        table.add_row(
            f"{process}: memory before, most, after (MB)",
            *(" ".join(f"{mb:.0f}" for mb in one["memory"][process].values()) for one in results),
        )
    console.print(table)


def _shown(value: float | None) -> str:
    return "-" if value is None else figure(value) if value else "0"


def parse(arguments: list[str]) -> tuple[Options, Crowd, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="bench.overload", description=__doc__.splitlines()[0])
    parser.add_argument("--factor", type=float, help=f"of the peak; default {Crowd.factor:g}")
    parser.add_argument("--seconds", type=float, help=f"default {Crowd.seconds:g}")
    parser.add_argument("--connections", type=int, help=f"default {Crowd.connections}")
    parser.add_argument("--server", choices=("uvicorn", "granian"), default="uvicorn")
    parser.add_argument("--durability", choices=DURABILITIES, help="default both")
    parser.add_argument("--quick", action="store_true", help="does it still run?")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, only")
    given = parser.parse_args(arguments)
    names = ("factor", "seconds", "connections")
    changes = {name: value for name in names if (value := getattr(given, name)) is not None}
    options = SMOKE if given.quick else Options()
    return (
        replace(options, server=given.server, smoke=False),
        replace(QUICK if given.quick else Crowd(), **changes),
        given,
    )


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    options, crowd, given = parse(sys.argv[1:])
    results = []
    failure = ""
    with (
        postgres(options.connections) as database,
        tempfile.TemporaryDirectory(prefix="flashstock-bench-") as directory,
    ):
        described = environment.describe(database)
        try:
            for durability in DURABILITIES:
                if given.durability in {durability, None}:
                    found = measure(options, crowd, durability, database, Path(directory))
                    results.append(found)
        except InvariantBroken as problem:
            failure = str(problem)
    document = {"failure": failure, "environment": described, "results": results}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "overload.json").write_text(json.dumps(document, indent=1) + "\n")
    console = Console(stderr=given.json)
    if results:
        print_table(console, results)
    if failure:
        console.print(failure, style="red")
    if given.json:
        print(json.dumps(document))
    return FAILED if failure else 0


if __name__ == "__main__":
    sys.exit(main())
