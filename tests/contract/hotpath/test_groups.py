"""Pools of a group: each has its units, and all of them together have a buyer's limit."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import ConfirmStatus, Verdict
from tests.reference.asking import HOLD_MS, create, hold, key, target, verdicts
from tests.reference.subjects import START_MS

HELD, LIMITED = Verdict.HELD, Verdict.BUYER_LIMIT


@pytest.fixture
async def group(subject, store):
    """Two pools of one group, a pool named as the group is, and one beside them; limit 2 each."""
    for name in ("g:a", "g:b", "g", "other"):
        await create(store, name, per_buyer_limit=2)
    return subject


async def test_units_of_all_pools_of_the_group_count(group, store):
    await hold(store, "g:a", (1, "ann", 1))
    assert await verdicts(store, "g:b", (2, "ann", 2), (3, "ann", 1)) == [LIMITED, HELD]
    assert await verdicts(store, "g:a", (4, "ann", 1), (5, "bob", 2)) == [LIMITED, HELD]


async def test_a_pool_named_as_the_group_counts_for_itself(group, store):
    await hold(store, "g:a", (1, "ann", 2))
    assert await verdicts(store, "g", (2, "ann", 2)) == [HELD]
    assert await verdicts(store, "other", (3, "ann", 2)) == [HELD]
    assert await verdicts(store, "g:b", (4, "ann", 1)) == [LIMITED]


async def test_each_pool_has_its_own_units(group, store):
    await hold(store, "g:a", *((number, f"buyer {number}", 1) for number in range(10)))
    state = await group.state(["g:a", "g:b"])
    assert state.pools["g:a"].counters.available == 0
    assert state.pools["g:b"].counters.available == 10


async def test_what_ends_in_one_pool_is_free_for_the_other(group, store):
    await hold(store, "g:a", (1, "ann", 2))
    await store.cancel(target("g:a", 1), "cancelled")
    await hold(store, "g:b", (2, "ann", 2))
    await group.set_clock(START_MS + HOLD_MS)
    assert await store.expire("g:b", 8) == (2, START_MS + HOLD_MS + 3_600_000)
    await hold(store, "g:a", (3, "ann", 2))


async def test_lines_of_one_cart_count_together(group, store):
    lines = [("g:a", key(1), 1), ("other", key(2), 2), ("g:b", key(3), 2)]
    reply = await store.reserve_cart(0, "cart", "ann", lines)
    assert [line.verdict for line in reply.lines] == [HELD, HELD, LIMITED]
    assert not reply.held
    lines[2] = ("g:b", key(3), 1)
    assert (await store.reserve_cart(0, "cart", "ann", lines)).held
    state = await group.state(["g:a", "g:b", "other"])
    assert [pool.buyers for pool in state.pools.values()] == [{"ann": 2}] * 3


async def test_a_cart_gets_back_what_expires_in_another_line_s_pool(group, store):
    """Line one is decided once line two's pool is settled, so its limit is counted rightly."""
    await store.configure("g:b", {"hold_ms": "1"}, created=None)
    await hold(store, "g:b", (1, "ann", 2), *((n, f"buyer {n}", 2) for n in range(2, 6)))
    await group.set_clock(START_MS + 1)
    lines = [("g:a", key(7), 1), ("g:b", key(8), 1)]
    reply = await store.reserve_cart(0, "cart", "ann", lines)
    assert reply.held
    state = await group.state(["g:a", "g:b"])
    assert state.pools["g:a"].buyers["ann"] == 2


async def test_a_late_payment_is_measured_by_the_group(group, store):
    await hold(store, "g:a", (1, "ann", 2))
    await group.set_clock(START_MS + HOLD_MS)
    await store.expire("g:a", 8)
    await hold(store, "g:b", (2, "ann", 1))
    late = await store.confirm(target("g:a", 1), "pay")
    assert late.status == ConfirmStatus.REFUND_DUE
