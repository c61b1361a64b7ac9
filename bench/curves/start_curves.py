"""How long ``flashstock serve`` takes from nothing to its first answer, with its own stores."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import load
from bench.curves.curve import Row, Setting
from bench.curves.service_curves import FILL_CONNECTIONS, FILL_ITEMS, FILL_SECONDS_MAX
from bench.load import Load
from bench.measurements import MeasurementFailed
from bench.options import Options
from bench.systems import Service, embedded_service


def starts(this: Setting) -> Iterator[Row]:
    """First start, restart, restart on much data, and restart after Valkey lost it all."""
    home = Path(tempfile.mkdtemp(prefix="embedded-", dir=this.directory))
    times = range(this.sizes.starts)
    first = [_started(this.options, this.directory, home / f"data-{number}") for number in times]
    yield _row("first start", 0, first)
    data = home / "data-0"
    yield _row("restart", 0, [_started(this.options, this.directory, data) for _ in times])
    holds = this.sizes.holds[-1]
    _fill(this, data, holds)
    yield _row("restart", holds, [_started(this.options, this.directory, data) for _ in times])
    shutil.rmtree(data / "valkey")
    yield _row("Valkey lost", holds, [_started(this.options, this.directory, data)])
    shutil.rmtree(home)


def _row(what: str, holds: int, seconds: list[float]) -> Row:
    return {
        "start": f"{what}, {holds:,} holds" if holds else what,
        "live_holds": holds,
        "seconds": statistics.median(seconds),
        "slowest_seconds": max(seconds),
    }


def _started(options: Options, directory: Path, data: Path) -> float:
    """Seconds from its start to the ready file; it has answered its first probe then."""
    started_at = time.perf_counter()
    with embedded_service(options, directory, data):
        return time.perf_counter() - started_at


def _fill(this: Setting, data: Path, holds: int) -> None:
    with embedded_service(this.options, this.directory, data) as running:
        filled(running, holds)


def filled(running: Service, holds: int) -> None:
    """Give a service on empty stores so many holds, an hour long."""
    running.create_pool("fast")
    calls = -(-holds // FILL_ITEMS)
    planned = Load(
        url=running.url,
        pool=running.pool,
        tag="fill",
        connections=min(FILL_CONNECTIONS, calls),
        seconds=FILL_SECONDS_MAX,
        items_per_call=FILL_ITEMS,
        api_key=running.api_key,
    )
    load.run_driver(planned, ["--closed", "--calls", str(calls)])
    running.wait_until_applied()
    if running.units_held() != calls * FILL_ITEMS:
        raise MeasurementFailed(f"{running.units_held()} of {calls * FILL_ITEMS} were granted")
