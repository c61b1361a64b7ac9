"""What is shown: the funnel, by bucket and in all; how long holds lived; what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.errors import InvalidRequest, UnknownPool
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.model import events
from flashstock.model.states import ReservationState
from flashstock.statistics import queries as module
from flashstock.statistics.queries import Grain
from flashstock.statistics.refusals import RefusalRecorder
from tests.contract.ledger.written_log import (
    NOW_MS,
    POOL,
    cancelled,
    confirmed,
    created,
    digest,
    held,
    refund_due,
    released,
    returned,
)

MINUTE_MS = 60_000
START_MS = NOW_MS - NOW_MS % 86_400_000
LATER_MS = START_MS + 2 * 86_400_000


@pytest.fixture
async def sale(book, folder):
    """Five holds: two paid after 10 and 30 s (one unit comes back), one cancelled, one run out and
    owed a refund, one still held.
    """
    first = START_MS + MINUTE_MS
    await book.write(created(10), held(1, 2, 3, 4, 5, at_ms=first))
    await book.write(
        confirmed(1, at_ms=first + 10_000),
        confirmed(2, at_ms=first + 30_000),
        cancelled(3, at_ms=first + 3 * MINUTE_MS),
        released(ReservationState.EXPIRED, 4, at_ms=first + 70 * MINUTE_MS),
        refund_due(4, payment_ref="late"),
        returned(2, 1, 1, complete=True),
    )
    await folder.catch_up()
    return first


async def test_the_funnel(sale, statistics):
    report = await statistics.pool(POOL, 0, LATER_MS, Grain.TOTAL)
    counts = report.total.counts
    assert (counts["held_count"], counts["held_units"]) == (5, 5)
    assert (counts["paid_count"], counts["paid_units"], counts["paid_late_count"]) == (2, 2, 0)
    assert (counts["cancelled_count"], counts["expired_count"]) == (1, 1)
    assert (counts["returned_units"], counts["refund_due_count"]) == (1, 1)
    assert report.total.requested == 5
    assert report.buckets == []
    stock = report.stock
    assert (stock.total, stock.held, stock.sold, stock.left) == (10, 1, 1, 8)
    assert stock.sell_through == 0.1


async def test_how_long_holds_live(sale, statistics):
    total = (await statistics.pool(POOL, 0, LATER_MS, Grain.TOTAL)).total
    lives = [10_000, 30_000, 180_000, 70 * MINUTE_MS]
    assert total.life_mean_ms == sum(lives) / 4
    assert total.life_ms(0.5) == pytest.approx(30_000, rel=0.0625)
    assert total.life_ms(0.9) == pytest.approx(70 * MINUTE_MS, rel=0.0625)


async def test_buckets(sale, statistics):
    by_minute = await statistics.pool(POOL, START_MS, LATER_MS, Grain.MINUTE)
    starts = [(bucket.at_ms - START_MS) // MINUTE_MS for bucket in by_minute.buckets]
    assert starts[:2] == [1, 4]
    assert 71 in starts
    assert sum(bucket.counts["held_count"] for bucket in by_minute.buckets) == 5
    by_hour = await statistics.pool(POOL, START_MS, LATER_MS, Grain.HOUR)
    [first, second, *_] = by_hour.buckets
    assert (first.counts["paid_count"], first.counts["expired_count"]) == (2, 0)
    assert (second.at_ms, second.counts["expired_count"]) == (START_MS + 60 * MINUTE_MS, 1)
    [day] = (await statistics.pool(POOL, START_MS, LATER_MS, Grain.DAY)).buckets
    assert day.at_ms == START_MS
    assert day.counts == by_minute.total.counts


async def test_a_span_includes_its_first_minute_and_not_its_last(sale, statistics):
    def paid(report):
        return report.total.counts["paid_count"]

    assert paid(await statistics.pool(POOL, sale, sale + MINUTE_MS, Grain.TOTAL)) == 2
    assert paid(await statistics.pool(POOL, sale, sale, Grain.TOTAL)) == 0
    assert paid(await statistics.pool(POOL, sale + MINUTE_MS, LATER_MS, Grain.TOTAL)) == 0
    early = await statistics.pool(POOL, sale, sale + MINUTE_MS, Grain.TOTAL)
    assert (early.stock.held, early.stock.sold) == (3, 2), "the stock as it was then"


async def test_pools_together(sale, book, folder, statistics):
    await book.write(created(5, pool="other"), held(9, pool="other", at_ms=sale))
    await folder.catch_up()
    report = await statistics.together([POOL, "other"], 0, LATER_MS, Grain.TOTAL)
    assert report.total.counts["held_count"] == 6
    assert (report.stock.total, report.stock.held) == (15, 2)
    assert await statistics.pools("", 10) == ["other", POOL]
    assert await statistics.pools("other", 10) == [POOL]


async def test_units_sold_by_pool(sale, statistics):
    assert await statistics.sold_by_pool(sale, sale) == {POOL: 2}
    assert await statistics.sold_by_pool(0, sale - 1, POOL) == {}
    assert await statistics.sold_by_pool(sale, LATER_MS, POOL) == {POOL: 1}
    assert await statistics.sold_by_pool(sale, LATER_MS, "other") == {}


async def test_bounds(sale, statistics, monkeypatch):
    with pytest.raises(UnknownPool):
        await statistics.pool("nobody", 0, LATER_MS, Grain.TOTAL)
    monkeypatch.setattr(module, "BUCKETS_MAX", 2)
    with pytest.raises(InvalidRequest, match="coarser"):
        await statistics.pool(POOL, 0, LATER_MS, Grain.MINUTE)
    await statistics.pool(POOL, 0, LATER_MS, Grain.DAY)


async def test_refusals_are_what_processes_counted(sale, engine, clock, statistics):
    clock.now_ms = sale
    counted = [{(POOL, "sold_out"): 3, (POOL, "buyer_limit"): 1}, {(POOL, "sold_out"): 2}, {}]
    recorder = RefusalRecorder(engine, lambda: counted.pop(0), clock)
    assert await recorder.flush() == 4
    assert await recorder.flush() == 2
    assert await recorder.flush() == 0
    total = (await statistics.pool(POOL, 0, LATER_MS, Grain.TOTAL)).total
    assert total.refused == {"sold_out": 5, "buyer_limit": 1}
    assert total.requested == 11


async def test_refusals_that_could_not_be_written_are_written_later(
    sale, engine, clock, statistics, monkeypatch
):
    counted = [{(POOL, "paused"): 1}, {(POOL, "paused"): 1}]
    recorder = RefusalRecorder(engine, lambda: counted.pop(0), clock)
    with monkeypatch.context() as patched:

        def away(_):
            raise LedgerUnavailable("the database is away")

        patched.setattr("flashstock.statistics.refusals.writing", away)
        with pytest.raises(LedgerUnavailable):
            await recorder.flush()
    clock.now_ms = sale
    await recorder.flush()
    total = (await statistics.pool(POOL, 0, LATER_MS, Grain.TOTAL)).total
    assert total.refused == {"paused": 2}


async def test_orders_that_hold_nothing_are_counted_and_have_no_life(book, folder, statistics):
    ordered = replace(held(1, 2, at_ms=START_MS), state=ReservationState.ORDERED)
    cancelled_order = events.Withdrawn(POOL, START_MS, digest(1), 1, ReservationState.CANCELLED)
    paid = confirmed(2, before=ReservationState.ORDERED, at_ms=START_MS)
    await book.write(created(10), ordered, cancelled_order, paid)
    await folder.catch_up()
    report = await statistics.pool(POOL, 0, LATER_MS, Grain.TOTAL)
    counts = report.total.counts
    assert (counts["held_count"], counts["cancelled_count"], counts["paid_count"]) == (2, 1, 1)
    assert (counts["paid_late_count"], counts["lives_count"]) == (0, 0)
    assert (report.stock.held, report.stock.sold) == (0, 1)
