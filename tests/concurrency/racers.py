"""Clients that race: tasks, threads and processes, all with connections of their own.

Each waits at the line until everybody is there, then does what it is told and returns what it
was answered. What they are told must pickle.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.connection import connect
from flashstock.hotpath.lanes import Lanes
from flashstock.hotpath.pipe import Pipe
from flashstock.hotpath.scripts import script_set
from flashstock.hotpath.store import HotStore
from tests.reference.asking import key, target
from tests.reference.store import GENERATION
from tests.reference.subjects import RETENTION_MS

TIMEOUT_MS = 60_000
WAIT_MS = 50_000
"""Processes start slowly on a machine that has other things to do."""
READY, LINE = "test:ready", "test:line"
Request = tuple[str, int, str, int]
"""Pool, number of the key, buyer, quantity."""
Race = Callable[[HotStore, Any], Awaitable[list[Any]]]


async def reserve(store: HotStore, requests: Sequence[Request]) -> list[tuple[int, bytes | None]]:
    """Through lanes of this racer's own: (verdict, record of a repetition)."""
    lanes = Lanes(
        store,
        AppliedTracker(1, TIMEOUT_MS),
        batch_max=16,
        pending_max=len(requests),
        backlog_events_max=1_000_000,
        sold_out_stale_ms=50,
        clock=time.monotonic,
    )
    futures = []
    for index, (pool, number, buyer, quantity) in enumerate(requests):
        futures.append(lanes.submit(pool, key(number), buyer, quantity))
        if index % 8 == 0:
            await asyncio.sleep(0)
    return [(answer.verdict, answer.replay) for answer in await asyncio.gather(*futures)]


async def reserve_carts(
    store: HotStore, carts: Sequence[tuple[str, str, list[tuple[str, int, int]]]]
) -> list[bool]:
    """``carts`` are (cart, buyer, lines of (pool, number of the key, quantity))."""
    held = []
    for cart, buyer, lines in carts:
        asked = [(pool, key(number), quantity) for pool, number, quantity in lines]
        held.append((await store.reserve_cart(0, cart, buyer, asked)).held)
    return held


async def confirm(store: HotStore, sales: Sequence[tuple[str, int, str]]) -> list[int]:
    """``sales`` are (pool, number of the key, payment); the statuses, one by one."""
    return [
        (await store.confirm(target(pool, number), payment)).status
        for pool, number, payment in sales
    ]


async def expire(store: HotStore, sweeps: tuple[str, int]) -> list[int]:
    """``sweeps`` is (pool, how often): the smallest steps there are."""
    pool, times = sweeps
    return [(await store.expire(pool, 1))[0] for _ in range(times)]


async def _race(url: str, race: Race, what: Any) -> list[Any]:
    client = connect(url, timeout_ms=TIMEOUT_MS)
    pipe = Pipe(url, timeout_ms=TIMEOUT_MS)
    try:
        store = HotStore(client, 1, pipe.call)
        store.open_shard(0, script_set(0, GENERATION, RETENTION_MS))
        await client.rpush(READY, "here")
        await client.xread({LINE: "0"}, block=WAIT_MS)
        return await race(store, what)
    finally:
        await pipe.aclose()
        await client.aclose()


def _run(url: str, race: Race, what: Any) -> list[Any]:
    return asyncio.run(_race(url, race, what))


async def _start_together(url: str, racers: int) -> None:
    client = connect(url, timeout_ms=TIMEOUT_MS)
    for _ in range(racers):
        assert await client.blpop([READY], timeout=WAIT_MS / 1000), "a racer did not come"
    await client.xadd(LINE, {"go": "!"})
    await client.aclose()


async def race_as_tasks(url: str, told: Sequence[tuple[Race, Any]]) -> list[list[Any]]:
    """All in this process and event loop."""
    racing = asyncio.gather(*(_race(url, race, what) for race, what in told))
    await _start_together(url, len(told))
    return list(await racing)


async def _race_in(
    executor: Executor, url: str, told: Sequence[tuple[Race, Any]]
) -> list[list[Any]]:
    loop = asyncio.get_running_loop()
    racing = [loop.run_in_executor(executor, _run, url, race, what) for race, what in told]
    await _start_together(url, len(told))
    return list(await asyncio.gather(*racing))


async def race_as_threads(url: str, told: Sequence[tuple[Race, Any]]) -> list[list[Any]]:
    """Each in a thread with an event loop of its own."""
    with ThreadPoolExecutor(len(told)) as executor:
        return await _race_in(executor, url, told)


async def race_as_processes(url: str, told: Sequence[tuple[Race, Any]]) -> list[list[Any]]:
    """Each in a process of its own that shares nothing."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(told), mp_context=spawn) as executor:
        return await _race_in(executor, url, told)
