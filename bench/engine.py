"""The engine alone: our real script on the real Valkey, with no HTTP in front.

Three figures. Server time per reservation is what Valkey itself accounts to EVALSHA (``INFO
commandstats``); it does not depend on the client, and the ratios are made of it. CPU time of the
whole process adds parsing, replies and the append-only file. The closed-loop rate has the Python
client in it too.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from bench.processes import cpu_seconds
from bench.stores import Valkey
from bench.systems import HOLD_SECONDS, PER_BUYER_LIMIT, POOL, POOL_UNITS, InvariantBroken
from flashstock.hotpath import keys
from flashstock.hotpath.connection import connect
from flashstock.hotpath.scripts import script_set
from flashstock.hotpath.store import HotStore
from flashstock.model.events import encode_rules
from flashstock.model.ids import digest_of
from flashstock.model.rules import PoolRules
from flashstock.model.states import Durability, PoolState

CALLERS: Final = 4
"""Calls under way at once: enough that the server never waits for the client."""
GENERATION: Final = "1"
RETENTION_MS: Final = 24 * 3_600_000
WARM_UP_SHARE: Final = 0.1
TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True)
class EngineResult:
    """Of one measurement; server time in µs."""

    reservations: int
    batch_items: int
    server_us_per_reservation: float
    process_cpu_us_per_reservation: float
    closed_loop_rps: float


def measure(valkey: Valkey, reservations: int, batch_items: int) -> EngineResult:
    """Reserve that many units by that many buyers, ``batch_items`` a call, on an empty Valkey.

    Raises:
        InvariantBroken: the pool does not account for exactly what was reserved.
    """
    return asyncio.run(_measure(valkey, reservations, batch_items))


async def _measure(valkey: Valkey, reservations: int, batch_items: int) -> EngineResult:
    client = connect(valkey.url, timeout_ms=TIMEOUT_MS)
    try:
        store = await _open(client)
        warm_up = max(batch_items, int(reservations * WARM_UP_SHARE) // batch_items * batch_items)
        measured = reservations // batch_items * batch_items
        batches = _batches(warm_up + measured, batch_items)
        await _reserve(store, batches[: warm_up // batch_items])
        await client.config_resetstat()
        cpu_before = cpu_seconds(valkey.child.pid)
        started_at = time.perf_counter()
        await _reserve(store, batches[warm_up // batch_items :])
        elapsed = time.perf_counter() - started_at
        cpu = cpu_seconds(valkey.child.pid) - cpu_before
        spent: dict[str, Any] = (await client.info("commandstats"))["cmdstat_evalsha"]
        counters = (await store.snapshot(POOL)).counters
        if counters.held != warm_up + measured or counters.available + counters.held != POOL_UNITS:
            raise InvariantBroken(f"engine: {warm_up + measured} reserved, pool says {counters}")
        return EngineResult(
            measured,
            batch_items,
            server_us_per_reservation=spent["usec"] / measured,
            process_cpu_us_per_reservation=cpu * 1e6 / measured,
            closed_loop_rps=measured / elapsed,
        )
    finally:
        await client.aclose()


async def _open(client: Redis) -> HotStore:
    """An open shard with one large pool: what recovery does at a first start."""
    scripts = script_set(GENERATION, RETENTION_MS)
    for text in scripts.texts.values():
        await client.script_load(text)
    start = {"generation": GENERATION, "seq": "0", "clock_ms": "0", "orders": "0"}
    for name, value in start.items():
        await client.hset(keys.shard_meta(0), name, value)
    store = HotStore(client, shard_count=1)
    store.open_shard(0, scripts)
    rules = PoolRules(
        sku="bench-sku",
        state=PoolState.OPEN,
        per_buyer_limit=PER_BUYER_LIMIT,
        hold_ms=HOLD_SECONDS * 1_000,
        starts_at_ms=0,
        ends_at_ms=0,
        durability=Durability.FAST,
        waves=(),
    )
    await store.configure(POOL, encode_rules(rules), created=(POOL_UNITS, 0))
    return store


def _batches(reservations: int, batch_items: int) -> list[tuple[list[str], list[str]]]:
    """Digests and buyers, made beforehand: hashing is the API's work, not the engine's."""
    digests = [digest_of("bench", str(number)) for number in range(reservations)]
    buyers = [f"b-engine-{number}" for number in range(reservations)]
    starts = range(0, reservations, batch_items)
    return [(digests[at : at + batch_items], buyers[at : at + batch_items]) for at in starts]


async def _reserve(store: HotStore, batches: list[tuple[list[str], list[str]]]) -> None:
    remaining = iter(batches)

    async def call() -> None:
        for digests, buyers in remaining:
            await store.reserve(POOL, len(digests), digests, buyers, ["1"] * len(digests))

    await asyncio.gather(*(call() for _ in range(CALLERS)))
