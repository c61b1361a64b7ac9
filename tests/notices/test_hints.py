"""Hints: the sums are right, and never ask for less than nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from flashstock.errors import UnknownPool
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import pools
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.notices.hints import DAY_MS, MINUTE_MS, Hints, sold_out_at_ms, suggested_purchase
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import allocations, locations, skus
from tests.databases import NOW_MS
from tests.notices.test_warnings import pool

units = st.integers(0, 10**9)
days = st.integers(1, 366)


@given(sold=units, window=days, cover=st.integers(0, 700), safety=units, there=units)
def test_what_is_bought_lasts_and_no_unit_more_is(sold, window, cover, safety, there):
    suggested = suggested_purchase(sold, window, cover, safety, there)
    assert suggested >= 0
    after = there + suggested - safety
    assert after * window >= sold * cover, "it lasts as long as it should"
    if suggested:
        assert (after - 1) * window < sold * cover, "with one unit less it would not"


@given(now=st.integers(1, 4_000_000_000_000), elapsed=st.integers(1, 10**9), sold=units, left=units)
def test_a_forecast_is_the_rate_drawn_out(now, elapsed, sold, left):
    ends = sold_out_at_ms(now, now - elapsed, sold, left)
    if left == 0:
        assert ends == now
    elif sold == 0:
        assert ends is None
    elif ends is not None:
        assert (ends - now) * sold >= left * elapsed
        assert (ends - now - 1) * sold < left * elapsed


@pytest.fixture
def sold():
    """What the statistics would say."""
    return {}


@pytest.fixture
def hints(engine, clock, sold):
    async def sold_by_pool(since_ms, until_ms, pool):
        assert since_ms <= until_ms <= NOW_MS
        return {name: units for name, units in sold.items() if pool in (None, name)}

    return Hints(engine, clock, sold_by_pool)


async def stocked(engine, *postings):
    """SKUs A and B with lead times, at x and y; then these postings, an hour ago each."""
    common = {"created_at_ms": 1, "updated_at_ms": 1}
    rows = [
        {"sku": "A", "safety_stock": 10, "lead_time_days": 7, **common},
        {"sku": "B", "safety_stock": 0, "lead_time_days": 0, **common},
    ]
    async with writing(engine) as connection:
        await connection.execute(insert(skus), rows)
        places = [{"code": c, "name": c, "kind": "w", "priority": 1, **common} for c in "xy"]
        await connection.execute(insert(locations), places)
        for number, (at_ms, kind, *posting) in enumerate(postings):
            command = StockCommand(str(number), kind, (Posting(*posting),))
            await post(connection, command, at_ms)


LONG_AGO_MS = NOW_MS - 100 * DAY_MS
LATELY_MS = NOW_MS - 3_600_000
AVAILABLE, COMMITTED = StockState.AVAILABLE, StockState.COMMITTED


async def test_purchases_count_every_way_to_sell_once(engine, hints, sold):
    await stocked(
        engine,
        (LONG_AGO_MS, MovementKind.RECEIVE, "A", "x", StockState.SUPPLIER, AVAILABLE, 500),
        (LONG_AGO_MS, MovementKind.SOLD_ELSEWHERE, "A", "x", AVAILABLE, StockState.ELSEWHERE, 99),
        (LATELY_MS, MovementKind.SOLD_ELSEWHERE, "A", "x", AVAILABLE, StockState.ELSEWHERE, 8),
        (LATELY_MS, MovementKind.COMMIT, "A", "x", AVAILABLE, COMMITTED, 6),
        (LATELY_MS, MovementKind.UNCOMMIT, "A", "x", COMMITTED, AVAILABLE, 2),
        (LATELY_MS, MovementKind.ALLOCATE, "A", "x", AVAILABLE, StockState.CAMPAIGN, 100),
        (LATELY_MS, MovementKind.COMMIT, "A", "x", StockState.CAMPAIGN, COMMITTED, 20),
        (LATELY_MS, MovementKind.EXPECT, "A", "y", StockState.SUPPLIER, StockState.IN_TRANSIT, 30),
    )
    row = {"location": "x", "quantity": 80, "shipped": 20}
    async with writing(engine) as connection:
        await connection.execute(
            insert(allocations),
            [
                {"pool": "bundle", "sku": "A", "per_unit": 2, **row},
                {"pool": "bundle", "sku": "B", "per_unit": 1, **row},
                {"pool": "bundle", "sku": "B", "per_unit": 1, **row, "location": "y"},
            ],
        )
        await connection.execute(insert(pools), [pool("bundle", 40), pool("plain", 40, sku="B")])
    sold |= {"bundle": 10, "plain": 3}
    first, second = await hints.purchases(28, 21, "", 10)
    # elsewhere 8, committed 6 and 2 of them back, and 10 bundles of 2
    assert (first.sku, first.sold) == ("A", 8 + 6 - 2 + 20)
    available = 500 - 99 - 8 - 6 + 2 - 100
    assert (first.available, first.in_transit) == (available, 30)
    assert first.daily_sales == round(32 / 28, 3)
    assert first.suggested == 0
    assert (second.sku, second.sold, second.available) == ("B", 13, 0)
    assert second.suggested == -(-13 * 21 // 28)
    [only] = await hints.purchases(28, 400 - 7, "", 1)
    assert only.suggested == -(-32 * 400 // 28) + 10 - available - 30
    assert [hint.sku for hint in await hints.purchases(28, 1, "A", 1)] == ["B"]


async def test_forecasts(engine, hints, sold, clock):
    began = {"created_at_ms": NOW_MS - 3_600_000}
    async with writing(engine) as connection:
        await connection.execute(
            insert(pools),
            [
                pool("fast", 100, sold=40, held=10, **began),
                pool("idle", 5, **began),
                pool("gone", 5, sold=5, **began),
                pool("young", 50, created_at_ms=NOW_MS - 2 * MINUTE_MS),
            ],
        )
    sold |= {"fast": 30, "young": 10}
    fast = await hints.forecast("fast", 15)
    since_ms = NOW_MS - 15 * MINUTE_MS - NOW_MS % MINUTE_MS
    assert (fast.since_ms, fast.sold, fast.left) == (since_ms, 30, 60)
    assert fast.sold_out_at_ms == NOW_MS + 2 * (NOW_MS - since_ms)
    assert (await hints.forecast("idle", 15)).sold_out_at_ms is None
    assert (await hints.forecast("gone", 15)).sold_out_at_ms == NOW_MS
    young = await hints.forecast("young", 15)
    assert young.since_ms == NOW_MS - 2 * MINUTE_MS - NOW_MS % MINUTE_MS
    assert young.sold_out_at_ms == NOW_MS + 5 * (NOW_MS - young.since_ms)
    with pytest.raises(UnknownPool):
        await hints.forecast("none", 15)
