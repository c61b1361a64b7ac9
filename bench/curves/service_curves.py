"""What the running service costs as it grows: real processes, PostgreSQL, `ledger` pools."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from bench import load
from bench.curves.curve import Row, Setting
from bench.load import Load
from bench.measurements import MeasurementFailed
from bench.options import Options
from bench.stores import Valkey, valkey
from bench.systems import SETTLE_TIMEOUT_SECONDS, InvariantBroken, Service, service
from bench.targets import pool_name

SHARDED_POOLS: Final = 64
SETTINGS: Final = {
    # Filling is faster than the writer, and is not what is measured.
    "FLASHSTOCK_BACKLOG_EVENTS_MAX": "50000000",
}
FILL_ITEMS: Final = 500
FILL_CONNECTIONS: Final = 4
FILL_SECONDS_MAX: Final = 600.0
FLEETING_SECONDS: Final = 1
CREATORS: Final = 8
_POLL_SECONDS: Final = 0.1
_LAG: Final = """
SELECT percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY updated_at_ms - deadline_ms)
FROM reservations WHERE pool = $1 AND state = 'expired'
"""


@dataclass(frozen=True)
class Served:
    """A running service and its stores."""

    this: Setting
    service: Service
    store: Valkey
    database: str

    def load(self, tag: str, pools: int = 1) -> Load:
        return Load(
            url=self.service.url,
            pool=self.service.pool,
            tag=tag,
            connections=self.this.options.connections,
            seconds=self.this.sizes.seconds,
            api_key=self.service.api_key,
            pools=pools,
        )


@contextmanager
def serving(this: Setting, options: Options, shard_count: int = 1) -> Iterator[Served]:
    """The service on empty stores."""
    settings = {**SETTINGS, "FLASHSTOCK_SHARD_COUNT": str(shard_count)}
    with (
        valkey(this.directory) as store,
        this.postgres.fresh_database("curves") as database,
        service(
            options, this.directory, store, this.postgres.url(database), settings=settings
        ) as running,
    ):
        yield Served(this, running, store, database)


def pools(this: Setting) -> Iterator[Row]:
    """The same crowd over more and more pools: fewer and fewer of it share a batch."""
    for count in this.sizes.pools:
        with serving(this, this.options) as served:
            yield {"pools": count, **_loaded(served, count)}


def shards(this: Setting) -> Iterator[Row]:
    """The same crowd and pools over more and more shards, each with a writer of its own."""
    for count in this.sizes.shards:
        with serving(this, this.options, count) as served:
            yield {"shards": count, **_loaded(served, SHARDED_POOLS)}


def workers(this: Setting) -> Iterator[Row]:
    """The same crowd before more and more API processes, which split the batches."""
    for count in this.sizes.workers:
        with serving(this, replace(this.options, workers=count)) as served:
            yield {"workers": count, **_loaded(served, 1)}


def holds(this: Setting) -> Iterator[Row]:
    """One service whose live holds grow: latency, expiry, proof and rebuild at each size."""
    with serving(this, this.options) as served:
        filled = 0
        served.service.create_pool("fast")
        for count in this.sizes.holds:
            _fill(served, count - filled, f"fill{count}")
            filled = count
            row: Row = {"live_holds": count}
            ledger = replace(served, service=replace(served.service, pool=f"ledger-{count}"))
            ledger.service.create_pool("ledger")
            row |= _open_loop(ledger, f"open{count}", 1)
            row |= _expiry_lag(served, f"fleeting-{count}")
            row |= _proof(served)
            row |= _rebuild(served)
            yield row


def _loaded(served: Served, pools: int) -> Row:
    """A closed-loop load and an open-loop one, then the books."""
    _create_pools(served.service, pools)
    closed = served.load("closed", pools)
    load.warm_up(closed, served.this.sizes.warm_up_seconds)
    with _server_time(served.store) as spent:
        result = load.run(closed)
    # What the service refused is no part of what it can take; it is in the row.
    row: Row = {
        "saturated_rps": result.rate_of(result.succeeded),
        "saturated_refused": result.refused,
        "saturated_batch": result.requests / max(1.0, spent["calls"]),
        "saturated_server_us": spent["usec"] / max(1, result.requests),
    }
    served.service.wait_until_applied()
    row |= _open_loop(served, "open", pools)
    served.service.reconcile()
    return row


def _open_loop(served: Served, tag: str, pools: int) -> Row:
    planned = served.load(tag, pools)
    sizes = served.this.sizes
    mode = ["--rate", str(sizes.rate), "--warm-up-seconds", str(sizes.warm_up_seconds)]
    with _server_time(served.store) as spent:
        summary, _ = load.run_driver(planned, mode)
    sent = sizes.rate * (sizes.warm_up_seconds + sizes.seconds)
    refused = sum(n for status, n in summary["statuses"].items() if status != "201")
    return {
        "p50_ms": summary["p50_ms"],
        "p99_ms": summary["p99_ms"],
        "batch": sent / max(1.0, spent["calls"]),
        "server_us": spent["usec"] / sent,
        "refused": refused + summary["unanswered"],
    }


@contextmanager
def _server_time(store: Valkey) -> Iterator[dict[str, float]]:
    """What Valkey accounts to scripts over the block: usec and calls."""
    spent: dict[str, float] = {}
    with store.connect() as client:
        client.config_resetstat()
        yield spent
        commands: dict[str, Any] = client.info("commandstats")
    spent |= {name: float(commands["cmdstat_evalsha"][name]) for name in ("usec", "calls")}


def _create_pools(running: Service, count: int) -> None:
    if count == 1:
        running.create_pool("ledger")
        return
    with ThreadPoolExecutor(CREATORS) as threads:
        named = [replace(running, pool=pool_name(running.pool, number)) for number in range(count)]
        list(threads.map(lambda one: one.create_pool("ledger"), named))


def _fill(served: Served, count: int, tag: str) -> None:
    """So many holds more, an hour long."""
    if not count:
        return
    before = served.service.units_held()
    calls = -(-count // FILL_ITEMS)
    planned = replace(
        served.load(tag),
        connections=min(FILL_CONNECTIONS, calls),
        items_per_call=FILL_ITEMS,
        seconds=FILL_SECONDS_MAX,
    )
    load.run_driver(planned, ["--closed", "--calls", str(calls)])
    served.service.wait_until_applied()
    filled = served.service.units_held() - before
    if filled != calls * FILL_ITEMS:
        raise MeasurementFailed(f"{filled} of {calls * FILL_ITEMS} holds were granted")


def _expiry_lag(served: Served, pool: str) -> Row:
    """From deadline to available, of holds that nobody asks for: the sweeper's time."""
    fleeting = replace(served.service, pool=pool)
    fleeting.create_pool("ledger", hold_seconds=FLEETING_SECONDS)
    planned = replace(served.load(pool), pool=pool)
    summary, _ = load.run_driver(planned, ["--rate", str(served.this.sizes.rate)])
    give_up_at = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while held := fleeting.units_held():
        if time.monotonic() > give_up_at:
            raise InvariantBroken(f"{held} units of {pool} never came back")
        time.sleep(_POLL_SECONDS)
    fleeting.wait_until_applied()
    [(found,)] = served.this.postgres.fetch(_LAG, served.database, pool)
    return {
        "expired": summary["statuses"]["201"],
        "expiry_lag_p50_ms": found[0],
        "expiry_lag_p99_ms": found[1],
        "expiry_lag_max_ms": found[2],
    }


def _proof(served: Served) -> Row:
    started_at = time.perf_counter()
    books = served.service.reconcile()
    return {
        "reconcile_seconds": time.perf_counter() - started_at,
        "reservations_checked": books["reservations_checked"],
    }


def _rebuild(served: Served) -> Row:
    """Build Redis anew from SQL, as an operator would, and prove the result."""
    arguments = [sys.executable, "-m", "flashstock", "rebuild", "--apply"]
    started_at = time.perf_counter()
    said = served.this.directory / "rebuild.log"
    with said.open("wb") as log:
        environment = served.service.environment
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started_at
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise MeasurementFailed(f"rebuild ended with {process.returncode}: {said.read_text()}")
    served.service.wait_until_ready()
    served.service.reconcile()
    return {"rebuild_seconds": elapsed, "rebuild_peak_mb": usage.ru_maxrss / 1e3}
