"""The engine alone: our real script on the real Valkey, with no HTTP in front.

Three figures. Server time per reservation is what Valkey itself accounts to EVALSHA (``INFO
commandstats``); it does not depend on the client, and the ratios are made of it. CPU time of the
whole process adds parsing, replies and the append-only file. The closed-loop rate has the Python
client in it too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from bench.processes import cpu_seconds
from bench.stores import Valkey
from bench.systems import PER_BUYER_LIMIT, POOL, POOL_UNITS, InvariantBroken
from flashstock.hotpath import keys
from flashstock.hotpath.connection import connect
from flashstock.hotpath.pipe import Pipe
from flashstock.hotpath.scripts import script_set
from flashstock.hotpath.store import HotStore
from flashstock.model.events import encode_rules
from flashstock.model.ids import digest_of
from flashstock.model.rules import PoolRules
from flashstock.model.states import Durability

CALLERS: Final = 4
"""Calls under way at once: enough that the server never waits for the client."""
GENERATION: Final = "1"
RETENTION_MS: Final = 24 * 3_600_000
WARM_UP_SHARE: Final = 0.1
TIMEOUT_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

Reserved = tuple[str, list[str], list[str]]
"""One call: the pool, the digests, and as many buyers."""


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
    async with opened(valkey) as store:
        await create_pool(store, POOL)
        warm_up = max(batch_items, int(reservations * WARM_UP_SHARE) // batch_items * batch_items)
        measured = reservations // batch_items * batch_items
        await reserve(store, calls([POOL], 0, warm_up, batch_items))
        prepared = calls([POOL], warm_up, measured, batch_items)
        async with ServerTime(store) as server:
            cpu_before = cpu_seconds(valkey.child.pid)
            started_at = time.perf_counter()
            await reserve(store, prepared)
            elapsed = time.perf_counter() - started_at
            cpu = cpu_seconds(valkey.child.pid) - cpu_before
        await check(store, {POOL: warm_up + measured})
        return EngineResult(
            measured,
            batch_items,
            server_us_per_reservation=server.us / measured,
            process_cpu_us_per_reservation=cpu * 1e6 / measured,
            closed_loop_rps=measured / elapsed,
        )


@asynccontextmanager
async def opened(valkey: Valkey, shard_count: int = 1) -> AsyncIterator[HotStore]:
    """The store as an API worker has it, with every shard open: what a first start does."""
    client = connect(valkey.url, timeout_ms=TIMEOUT_MS)
    pipe = Pipe(valkey.url, timeout_ms=TIMEOUT_MS)
    try:
        store = HotStore(client, shard_count, pipe.call)
        start = {"generation": GENERATION, "seq": "0", "clock_ms": "0", "orders": "0"}
        for shard in range(shard_count):
            for name, value in start.items():
                await client.hset(keys.shard_meta(shard), name, value)
            scripts = script_set(shard, GENERATION, RETENTION_MS)
            for text in scripts.texts.values():
                await client.script_load(text)
            store.open_shard(shard, scripts)
        yield store
    finally:
        await pipe.aclose()
        await client.aclose()


async def create_pool(store: HotStore, pool: str, hold_ms: int = HOUR_MS) -> None:
    """A pool that never runs out, with a limit per buyer."""
    rules = PoolRules(
        sku="bench-sku",
        per_buyer_limit=PER_BUYER_LIMIT,
        hold_ms=hold_ms,
        durability=Durability.FAST,
    )
    await store.configure(pool, encode_rules(rules), created=(POOL_UNITS, 0))


def calls(pools: Sequence[str], first: int, reservations: int, batch_items: int) -> list[Reserved]:
    """Calls for each pool in turn, each item another buyer; ``first`` is the first one's number.

    Made beforehand: hashing keys is the API's work, not the engine's.
    """
    prepared = []
    turns = cycle(pools)
    for start in range(first, first + reservations, batch_items):
        numbers = range(start, min(start + batch_items, first + reservations))
        digests = [digest_of("bench", str(number)) for number in numbers]
        prepared.append((next(turns), digests, [f"b-engine-{number}" for number in numbers]))
    return prepared


async def reserve(store: HotStore, prepared: Iterable[Reserved]) -> None:
    """Make these calls, a few at a time."""
    remaining = iter(prepared)

    async def call() -> None:
        for pool, digests, buyers in remaining:
            await store.reserve(pool, len(digests), digests, buyers, ["1"] * len(digests))

    await asyncio.gather(*(call() for _ in range(CALLERS)))


class ServerTime:
    """What Valkey accounts to our scripts over a block: ``us`` of time in so many ``calls``."""

    def __init__(self, store: HotStore) -> None:
        self._client = store.client
        self.us = 0.0
        self.calls = 0

    async def __aenter__(self) -> ServerTime:
        await self._client.config_resetstat()
        return self

    async def __aexit__(self, *_: object) -> None:
        commands: dict[str, Any] = await self._client.info("commandstats")
        spent = commands.get("cmdstat_evalsha", {"usec": 0, "calls": 0})
        self.us, self.calls = float(spent["usec"]), int(spent["calls"])


async def check(store: HotStore, held: Mapping[str, int]) -> None:
    """Raises ``InvariantBroken`` unless each pool holds exactly so many units."""
    for pool, units in held.items():
        counters = (await store.snapshot(pool)).counters
        if counters.held != units or counters.available + units != POOL_UNITS:
            raise InvariantBroken(f"engine: {units} reserved in {pool}, it says {counters}")
