"""What the scripts cost as the data grows: our store on the real Valkey, no HTTP in front."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench import engine
from bench.curves.curve import Row, Setting
from bench.engine import ServerTime
from bench.stores import Valkey, valkey
from bench.systems import POOL, InvariantBroken
from bench.targets import pool_name
from flashstock.hotpath import keys
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import ReservationId
from flashstock.writer.sweeper import BATCH_MAX, Sweeper

SHARDED_POOLS: Final = 64
"""As many in every row, so that only the number of shards changes."""
REHASH_SECONDS: Final = 1.0
"""Valkey moves a growing hash to its new table in the background."""
FLEETING_MS: Final = 1
CONFIRMING: Final = 16
"""Confirmations under way at once."""


async def _server_us(store: HotStore, prepared: list[engine.Reserved]) -> float:
    async with ServerTime(store) as server:
        await engine.reserve(store, prepared)
    return server.us / sum(len(digests) for _, digests, _ in prepared)


def pools(this: Setting) -> Iterator[Row]:
    """The same reservations over more and more pools."""
    for count in this.sizes.pools:
        with valkey(this.directory) as server:
            yield asyncio.run(_pools(this, server, count))


async def _pools(this: Setting, server: Valkey, count: int) -> Row:
    names = [pool_name(POOL, number) for number in range(count)]
    reservations = this.sizes.engine_reservations
    async with engine.opened(server) as store:
        for name in names:
            await engine.create_pool(store, name)
        single = engine.calls(names, 0, reservations, 1)
        batches = engine.calls(names, reservations, reservations, this.options.batch_items)
        return {
            "pools": count,
            "one_a_call_us": await _server_us(store, single),
            "batches_us": await _server_us(store, batches),
        }


def shards(this: Setting) -> Iterator[Row]:
    """The same reservations and pools over more and more shards of one Valkey."""
    for count in this.sizes.shards:
        with valkey(this.directory) as server:
            yield asyncio.run(_shards(this, server, count))


async def _shards(this: Setting, server: Valkey, count: int) -> Row:
    names = [pool_name(POOL, number) for number in range(SHARDED_POOLS)]
    reservations = this.sizes.engine_reservations
    async with engine.opened(server, count) as store:
        for name in names:
            await engine.create_pool(store, name)
        batches = engine.calls(names, 0, reservations, this.options.batch_items)
        return {"shards": count, "batches_us": await _server_us(store, batches)}


def holds(this: Setting) -> Iterator[Row]:
    """Reserving, and sweeping what has expired, beside more and more live holds."""
    for count in this.sizes.holds:
        for items in (this.options.batch_items, 1):
            with valkey(this.directory) as server:
                yield asyncio.run(_holds(this, server, count, items))


async def _holds(this: Setting, server: Valkey, count: int, items: int) -> Row:
    reservations, expiring = this.sizes.engine_reservations, this.sizes.expiring
    async with engine.opened(server) as store:
        await engine.create_pool(store, POOL)
        await engine.reserve(store, engine.calls([POOL], 0, count, this.options.batch_items))
        reserve_us = await _server_us(store, engine.calls([POOL], count, reservations, items))
        staying = count + reservations
        await store.configure(POOL, {"hold_ms": str(FLEETING_MS)}, created=None)
        await engine.reserve(store, engine.calls([POOL], staying, expiring, items))
        await asyncio.sleep(10 * FLEETING_MS / 1_000)
        sweeper = Sweeper(store, interval_ms=1)
        started_at = time.perf_counter()
        async with ServerTime(store) as server_time:
            while await sweeper.sweep(0):
                pass
        elapsed = time.perf_counter() - started_at
        await engine.check(store, {POOL: staying})
        return {
            "live_holds": count,
            "items_a_call": items,
            "reserve_us": reserve_us,
            "expired": expiring,
            "sweep_us": server_time.us / expiring,
            "sweep_calls": server_time.calls,
            "sweep_total_ms": elapsed * 1e3,
        }


def memory(this: Setting) -> Iterator[Row]:
    """Bytes of Valkey memory for each hold, live and ended, the log apart."""
    for count in this.sizes.holds:
        for items in (this.options.batch_items, 1):
            with valkey(this.directory) as server:
                found = asyncio.run(_expired(server, count, items))
            confirmed = None
            if count <= this.sizes.confirmed_max:
                with valkey(this.directory) as server:
                    confirmed = asyncio.run(_confirmed(server, count, items))
            yield {
                "holds": count,
                "items_a_call": items,
                **asdict(found),
                "confirmed_bytes": confirmed,
            }


@dataclass(frozen=True)
class _Memory:
    live_bytes: float
    log_bytes: float
    expired_bytes: float


async def _expired(server: Valkey, count: int, items: int) -> _Memory:
    async with engine.opened(server) as store:
        before = await _empty(store)
        # Over at once, but nobody looks: a hold takes the same memory until it is swept.
        await engine.create_pool(store, POOL, FLEETING_MS)
        await engine.reserve(store, engine.calls([POOL], 0, count, items))
        log_bytes = await store.client.memory_usage(keys.shard_log(0), samples=0)
        live = await _used(store)
        await asyncio.sleep(10 * FLEETING_MS / 1_000)
        released = 0
        while units := (await store.expire(POOL, BATCH_MAX))[0]:
            released += units
        if released != count:
            raise InvariantBroken(f"{released} of {count} holds expired")
        ended = await _used(store)
    return _Memory(
        (live - before) / count,
        (log_bytes or 0) / count,
        (ended - before) / count,
    )


async def _confirmed(server: Valkey, count: int, items: int) -> float:
    async with engine.opened(server) as store:
        before = await _empty(store)
        await engine.create_pool(store, POOL)
        prepared = engine.calls([POOL], 0, count, items)
        await engine.reserve(store, prepared)
        targets = iter([ReservationId(POOL, one) for _, digests, _ in prepared for one in digests])

        async def confirm() -> None:
            for target in targets:
                await store.confirm(target, f"pay-{target.digest}")

        await asyncio.gather(*(confirm() for _ in range(CONFIRMING)))
        counters = (await store.snapshot(POOL)).counters
        if counters.sold != count:
            raise InvariantBroken(f"{counters.sold} of {count} holds confirmed")
        return (await _used(store) - before) / count


async def _empty(store: HotStore) -> float:
    """What an empty store uses, after its first script and pool."""
    await engine.create_pool(store, "first")
    await engine.reserve(store, engine.calls(["first"], 10**9, 1, 1))
    return await _used(store)


async def _used(store: HotStore) -> float:
    """Bytes of data, with the log cut off and without what connections and the AOF buffer."""
    await store.client.xtrim(keys.shard_log(0), maxlen=0, approximate=False)
    await asyncio.sleep(REHASH_SECONDS)
    found: dict[str, Any] = await store.client.info("memory")
    buffers = ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer")
    return float(found["used_memory"] - sum(found[name] for name in buffers))
