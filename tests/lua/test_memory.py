"""A server that is full, and how much a hold takes of it."""

from __future__ import annotations

import sys

import pytest

from flashstock.errors import Unavailable
from flashstock.hotpath import keys
from flashstock.hotpath.scripts import CancelStatus, ConfirmStatus
from flashstock.model.ids import digest_of
from flashstock.model.rules import PoolCounters
from tests.reference.asking import HOLD_MS, create, hold, reserve, target
from tests.reference.invariants import check
from tests.reference.subjects import START_MS

HOLDS = 20_480
BATCH = 128
BYTES_PER_HOLD_MAX = 260
"""Generous: allocators differ. The figure itself is printed."""


async def test_a_full_server_takes_no_new_hold_and_lets_go_of_the_old(shard):
    store = shard.store
    await create(store, hold_ms=HOLD_MS)
    await hold(store, "p", (1, "a", 1), (2, "b", 1), (3, "c", 1))
    await hold(store, "p", (4, "d", 1))
    await store.extend(target("p", 4), 2 * HOLD_MS)
    before = await shard.state(["p"])
    await shard.client.config_set("maxmemory", "1")
    with pytest.raises(Unavailable):
        await reserve(store, "p", (5, "e", 1))
    with pytest.raises(Unavailable):
        await store.reserve_cart(0, "cart", "e", [("p", digest_of("line"), 1)])
    with pytest.raises(Unavailable):
        await store.adjust("p", 1, 0, "command")
    assert await shard.state(["p"]) == before
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.CONFIRMED
    assert (await store.cancel(target("p", 2), "cancelled")).status == CancelStatus.CANCELLED
    assert await store.claim_payment("elsewhere", target("p", 1))
    assert (await store.snapshot("p")).counters == PoolCounters(10, 7, 2, 1, 0)

    await shard.client.config_set("maxmemory", "0")
    await shard.set_clock(START_MS + HOLD_MS)
    await shard.client.config_set("maxmemory", "1")
    assert (await store.expire("p", 8))[0] == 1
    state = await shard.state(["p"])
    assert state.pools["p"].counters == PoolCounters(10, 8, 1, 1, 0)
    check(state, {})
    await shard.client.config_set("maxmemory", "0")
    await hold(store, "p", (5, "e", 1))
    assert shard.lost == []


async def test_what_a_live_hold_takes(shard, capsys, record_property):
    """By buyers who come once, in full batches: the shape of a sale. The log is trimmed."""
    await create(shard.store, total=HOLDS)
    for first in range(0, HOLDS, BATCH):
        names = [f"buyer-{number:010d}" for number in range(first, first + BATCH)]
        digests = [digest_of("hold", name) for name in names]
        await shard.store.reserve("p", BATCH, digests, names, ["1"] * BATCH)
    assert (await shard.store.snapshot("p")).counters.held == HOLDS
    used = {
        name: await shard.client.memory_usage(name, samples=0)
        for name in (keys.reservations(0), keys.deadlines(0, "p"), keys.buyers(0, "p"))
    }
    per_hold = {name.rpartition("}:")[2]: size / HOLDS for name, size in used.items()}
    total = sum(per_hold.values())
    record_property("bytes_per_hold", round(total, 1))
    with capsys.disabled():
        parts = ", ".join(f"{name} {size:.0f}" for name, size in per_hold.items())
        sys.stdout.write(f"\nmemory per live hold: {total:.0f} bytes ({parts})\n")
    assert total <= BYTES_PER_HOLD_MAX
