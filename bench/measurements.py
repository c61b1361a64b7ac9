"""Every measurement of the suite: one function each, on freshly started systems.

A measurement starts what it measures, warms it up, loads it, and then makes the system prove that
its books balance. Nothing is carried over to the next one, and nothing else runs meanwhile but
an idle PostgreSQL. (A smoke run has one service for all: it checks that everything works.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bench import drain, engine, load, postgres_alone
from bench.load import Load, LoadResult
from bench.options import Options
from bench.processes import CpuMeter, running
from bench.stores import Postgres, valkey
from bench.systems import (
    HOLD_SECONDS,
    PER_BUYER_LIMIT,
    POOL,
    POOL_UNITS,
    InvariantBroken,
    Service,
    asgi,
    service,
)
from bench.targets import GROUPS_PATH

REFUSED_SHARE_MAX: Final = 0.01
"""More refusals than this where every request should win, and it is another measurement."""
POOLED_CLIENTS: Final = 8
"""What a connection pooler would put in front of PostgreSQL."""
HALF: Final = 0.5
GROUP_SIZE: Final = 10
"""So that nine of ten requests join a group that another one opened."""


class MeasurementFailed(RuntimeError):
    """The answers were not those the measurement is about."""


@dataclass(frozen=True)
class Measured:
    """One figure and what explains it."""

    value: float
    detail: dict[str, Any]


@dataclass
class Round:
    """What the measurements of one round share. ``values`` fills up as they are taken."""

    options: Options
    number: int
    directory: Path
    postgres: Postgres
    stack: ExitStack
    """What lives as long as the round."""
    values: dict[str, float] = field(default_factory=dict)
    _shared: list[tuple[Service, dict[str, int]]] = field(default_factory=list)

    def load(self, url: str, tag: str, **changes: Any) -> Load:
        return Load(
            url=url,
            pool=POOL,
            tag=f"{tag}{self.number}",
            connections=changes.pop("connections", self.options.connections),
            seconds=self.options.seconds,
            **changes,
        )

    def load_of(self, service: Service, tag: str, **changes: Any) -> Load:
        """For one pool of a service, with its key."""
        planned = self.load(service.url, tag, api_key=service.api_key, **changes)
        return replace(planned, pool=service.pool)

    @contextmanager
    def service(self, name: str) -> Iterator[tuple[Service, dict[str, int]]]:
        """The service for one measurement, and the processes to watch."""
        if not self.options.smoke:
            with self.fresh_service() as fresh:
                yield fresh
            return
        if not self._shared:
            self._shared.append(self.stack.enter_context(self.fresh_service()))
        shared, pids = self._shared[0]
        yield replace(shared, pool=f"{POOL}-{name}"), pids

    @contextmanager
    def fresh_service(self, **settings: Any) -> Iterator[tuple[Service, dict[str, int]]]:
        """The service on an empty Valkey and an empty database, and the processes to watch."""
        with (
            valkey(self.directory) as store,
            self.postgres.fresh_database("flashstock") as database,
            service(
                self.options, self.directory, store, self.postgres.url(database), **settings
            ) as running_service,
        ):
            yield running_service, running_service.pids(self.postgres, store)


def _saturate(
    this: Round, planned: Load, pids: dict[str, int], *, refused: bool = False
) -> tuple[LoadResult, dict[str, float]]:
    """Full load after a warm-up, and what it kept busy.

    Args:
        refused: whether every request should be refused, rather than none.
    """
    load.warm_up(planned, this.options.warm_up_seconds)
    return _full_load(planned, pids, refused=refused)


def _full_load(
    planned: Load, pids: dict[str, int], *, refused: bool
) -> tuple[LoadResult, dict[str, float]]:
    with CpuMeter(pids) as meter:
        result = load.run(planned)
    unexpected = result.succeeded if refused else result.refused
    if result.socket_errors or unexpected > result.requests * REFUSED_SHARE_MAX:
        raise MeasurementFailed(
            f"{planned.tag}: {unexpected} of {result.requests} answers were not the expected ones,"
            f" {result.socket_errors} socket errors"
        )
    return result, meter.cores


def _measured(value: float, result: LoadResult, cores: dict[str, float], **more: Any) -> Measured:
    return Measured(value, {**result.as_dict(), "cores": cores, **more})


def noop(this: Round, path: str = "") -> Measured:
    """The floor: the same server and request, nothing behind them."""
    with asgi("bench.noop:app", this.options, this.directory) as (url, pids):
        result, cores = _saturate(this, this.load(url, "noop", path=path), pids)
    return _measured(result.rate_of(result.succeeded), result, cores)


def noop_unread(this: Round) -> Measured:
    """A floor below the floor: the request's body is not even taken."""
    return noop(this, "/unread")


def noop_short(this: Round) -> Measured:
    """The floor of what the service really runs on: the request past ASGI, nothing behind it."""
    return noop(this, "/short")


def noop_fastapi(this: Round) -> Measured:
    """What FastAPI and pydantic take for the same request, with nothing behind them."""
    with asgi("bench.noop_fastapi:app", this.options, this.directory) as (url, pids):
        result, cores = _saturate(this, this.load(url, "fastapi"), pids)
    return _measured(result.rate_of(result.succeeded), result, cores)


def naive(this: Round, application: str = "bench.naive:app") -> Measured:
    """FastAPI, redis-py, one EVALSHA per request, on a Valkey with the same settings."""
    with valkey(this.directory) as store:
        with store.connect() as client:
            rules = {"available": POOL_UNITS, "held": 0, "per_buyer_limit": PER_BUYER_LIMIT}
            for name, value in {**rules, "hold_ms": HOLD_SECONDS * 1_000}.items():
                client.hset(f"pool:{POOL}", name, value)
        environment = {"NAIVE_REDIS_URL": store.url}
        with asgi(application, this.options, this.directory, environment) as (url, pids):
            watched = {**pids, "valkey": store.child.pid}
            result, cores = _saturate(this, this.load(url, "naive"), watched)
        with store.connect() as client:
            pool: dict[str, str] = client.hgetall(f"pool:{POOL}")
            events = client.xlen("log")
    available, held = int(pool["available"]), int(pool["held"])
    if available + held != POOL_UNITS or held != events or held < result.succeeded:
        raise InvariantBroken(f"the naive way: {available} left, {held} held, {events} events")
    return _measured(result.rate_of(result.succeeded), result, cores)


def naive_untuned(this: Round) -> Measured:
    """The same without what a good engineer adds to it."""
    return naive(this, "bench.naive_untuned:app")


def _reserve(
    this: Round, durability: str, items_per_call: int = 1, group_size: int = 0
) -> Measured:
    """Requests that all win; what was acknowledged must be what is held."""
    name = f"{durability}-{items_per_call}" + ("-groups" if group_size else "")
    with this.service(name) as (running_service, pids):
        running_service.create_pool(durability, group_size=group_size)
        # A full lane turns items away, not calls: keep what may wait below its bound.
        connections = max(1, this.options.connections // (8 if items_per_call > 1 else 1))
        planned = this.load_of(
            running_service,
            name,
            items_per_call=items_per_call,
            connections=connections,
            path=GROUPS_PATH if group_size else "",
        )
        load.warm_up(planned, this.options.warm_up_seconds)
        running_service.wait_until_applied()
        before = running_service.units_held()
        result, cores = _full_load(planned, pids, refused=False)
        books = running_service.reconcile()
        held = running_service.units_held() - before
    acknowledged = result.succeeded * items_per_call - result.items_refused
    cut_off = this.options.connections * items_per_call
    if not acknowledged <= held <= acknowledged + cut_off + result.refused * items_per_call:
        raise InvariantBroken(f"{acknowledged} acknowledged, but {held} held")
    return _measured(result.rate_of(acknowledged), result, cores, held=held, reconciliation=books)


def fast(this: Round) -> Measured:
    return _reserve(this, "fast")


def ledger(this: Round) -> Measured:
    return _reserve(this, "ledger")


def batch(this: Round) -> Measured:
    return _reserve(this, "fast", this.options.batch_items)


def seats(this: Round) -> Measured:
    """Each request gets a seat in the group that is nearest to full, or opens one."""
    return _reserve(this, "fast", group_size=GROUP_SIZE)


def sold_out(this: Round) -> Measured:
    """One unit, gone before the crowd comes: every answer is a refusal."""
    with this.service("sold-out") as (running_service, pids):
        running_service.create_pool("ledger", units=1)
        running_service.take(1)
        planned = this.load_of(running_service, "soldout")
        result, cores = _saturate(this, planned, pids, refused=True)
        books = running_service.reconcile()
        if running_service.units_held() != 1:
            raise InvariantBroken(f"sold out: {running_service.units_held()} held of 1")
    return _measured(result.rate_of(result.refused), result, cores, reconciliation=books)


def postgres(this: Round, clients: int = 0) -> Measured:
    """PostgreSQL with nothing in front, with as many clients as the service has connections."""
    clients = clients or this.options.connections
    rate = postgres_alone.measure(
        this.postgres, clients, this.options.warm_up_seconds, this.options.seconds
    )
    return Measured(rate, {"clients": clients})


def postgres_pooled(this: Round) -> Measured:
    """The same behind as few clients as a pooler would let through: its best."""
    return postgres(this, POOLED_CLIENTS)


def _engine(this: Round, batch_items: int) -> Measured:
    with valkey(this.directory) as store:
        result = engine.measure(store, this.options.engine_reservations, batch_items)
    return Measured(result.server_us_per_reservation, asdict(result))


def engine_single(this: Round) -> Measured:
    return _engine(this, 1)


def engine_batch(this: Round) -> Measured:
    return _engine(this, this.options.batch_items)


def drained(this: Round) -> Measured:
    """Fill the log through the API while no writer runs, then start one."""
    settings = {
        "FLASHSTOCK_BACKLOG_EVENTS_MAX": str(drain.BACKLOG_EVENTS_MAX),
        # The pool is created while its first writer is still starting.
        "FLASHSTOCK_APPLIED_TIMEOUT_MS": "30000",
    }
    with this.fresh_service(with_writer=False, settings=settings) as (running_service, pids):
        environment = running_service.environment
        with running("first-writer", drain.writer_arguments(), this.directory, environment):
            running_service.create_pool("fast")
            running_service.wait_until_applied()
        planned = this.load_of(running_service, "drain")
        filled, _ = _full_load(planned, pids, refused=False)
        rate, events, cores = drain.drain(running_service, this.directory)
    if events < filled.succeeded:
        raise InvariantBroken(f"{filled.succeeded} acknowledged, but {events} events in the log")
    return Measured(rate, {"events": events, "cores": cores})


def _latency(this: Round, durability: str) -> Measured:
    """p99 (ms) under open-loop arrivals at half of what the slower mode can take.

    Both modes get the same rate, so that they are compared on the same crowd.
    """
    rate = HALF * min(this.values["fast_rps"], this.values["ledger_rps"])
    name = f"{durability}-open"
    with this.service(name) as (running_service, pids):
        running_service.create_pool(durability)
        planned = this.load_of(running_service, name)
        warm_up = str(this.options.warm_up_seconds)
        with CpuMeter(pids) as meter:
            summary, cores = load.run_driver(
                planned, ["--rate", str(rate), "--warm-up-seconds", warm_up]
            )
        books = running_service.reconcile()
    wrong = sum(count for status, count in summary["statuses"].items() if status != "201")
    if summary["unanswered"] or wrong:
        raise MeasurementFailed(f"{durability} at {rate:.0f}/s: {summary}")
    detail = {**summary, "cores": {**meter.cores, "driver": cores}, "reconciliation": books}
    return Measured(summary["p99_ms"], detail)


def fast_latency(this: Round) -> Measured:
    return _latency(this, "fast")


def ledger_latency(this: Round) -> Measured:
    return _latency(this, "ledger")


@dataclass(frozen=True)
class Measurement:
    """A measurement by name. ``needs`` must be taken earlier in the same round."""

    name: str
    title: str
    unit: str
    take: Callable[[Round], Measured]
    needs: tuple[str, ...] = ()
    beside: str = ""
    """Taken for the reader's judgement whenever that other measurement is; in no ratio."""


SATURATED: Final = ("fast_rps", "ledger_rps")
MEASUREMENTS: Final[dict[str, Measurement]] = {
    one.name: one
    for one in (
        Measurement("noop_rps", "no-op endpoint", "requests/s", noop),
        Measurement("fast_rps", "reserve, fast", "requests/s", fast),
        Measurement("naive_rps", "the naive way", "requests/s", naive),
        Measurement("ledger_rps", "reserve, ledger on PostgreSQL", "requests/s", ledger),
        Measurement("sold_out_rps", "sold-out answer", "requests/s", sold_out),
        Measurement(
            "noop_unread_rps", "no-op, body unread", "requests/s", noop_unread, beside="noop_rps"
        ),
        Measurement(
            "noop_short_rps", "no-op without ASGI", "requests/s", noop_short, beside="noop_rps"
        ),
        Measurement(
            "noop_fastapi_rps", "no-op on FastAPI", "requests/s", noop_fastapi, beside="naive_rps"
        ),
        Measurement(
            "naive_untuned_rps",
            "the naive way, as installed",
            "requests/s",
            naive_untuned,
            beside="naive_rps",
        ),
        Measurement("seats_rps", "seats in groups of 10, fast", "seats/s", seats),
        Measurement("batch_rps", "batch endpoint, 64 a call", "reservations/s", batch),
        Measurement("postgres_tps", "PostgreSQL alone, same clients", "reservations/s", postgres),
        Measurement(
            "postgres_pooled_tps",
            "PostgreSQL alone, 8 clients",
            "reservations/s",
            postgres_pooled,
            beside="postgres_tps",
        ),
        Measurement("drain_eps", "writer drain on PostgreSQL", "events/s", drained),
        Measurement("engine_single_us", "engine, one a call", "µs/reservation", engine_single),
        Measurement("engine_us", "engine, 64 a call", "µs/reservation", engine_batch),
        Measurement("fast_p99_ms", "p99 at half load, fast", "ms", fast_latency, SATURATED),
        Measurement("ledger_p99_ms", "p99 at half load, ledger", "ms", ledger_latency, SATURATED),
    )
}
