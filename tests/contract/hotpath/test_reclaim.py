"""Selling what only a receipt remembers: once, within stock and limit, or the refund is due."""

from __future__ import annotations

import pytest

from flashstock.errors import UnknownPool
from flashstock.hotpath.scripts import ConfirmStatus, ReclaimStatus
from flashstock.model.events import Confirmed, Held, Hold, RefundDue
from flashstock.model.ids import ReservationId
from flashstock.model.rules import PoolCounters
from flashstock.model.states import PoolState, ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, reserve, target
from tests.reference.invariants import check
from tests.reference.subjects import RETENTION_MS, START_MS

DEADLINE_MS = START_MS + 30_000


async def reclaim(store, number=1, payment="pay", pool="p", **claims):
    wanted = {"buyer": "a", "quantity": 2, "deadline_ms": DEADLINE_MS, **claims}
    return await store.reclaim(target(pool, number), payment, **wanted)


async def events_of(subject, *pools):
    return [event for _, event in (await subject.state(pools or ["p"])).log]


async def test_it_is_held_and_sold_in_one_step(subject, store):
    before = await create(store)
    reply = await reclaim(store)
    assert reply.status == ReclaimStatus.RECLAIMED
    assert (reply.record.state, reply.record.seq) == (ReservationState.CONFIRMED, before.seq + 1)
    assert (reply.record.buyer, reply.record.quantity) == ("a", 2)
    assert (reply.record.payment_ref, reply.record.order_index) == ("pay", 1)
    assert (await store.lookup(0, [key(1)])).records == (reply.record,)
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(10, 8, 0, 2, 0)
    assert state.pools["p"].buyers == {"a": 2}
    check(state, {})
    assert [event for _, event in state.log[-2:]] == [
        Held("p", START_MS, DEADLINE_MS, (Hold(key(1), "a", 2, ""),)),
        Confirmed("p", START_MS, key(1), ReservationState.HELD, 2, "a", "pay", 1),
    ]


async def test_once_reclaimed_it_is_like_any_sale(subject, store):
    await create(store)
    sold = await reclaim(store)
    before = await subject.state(["p"])
    assert (await reclaim(store)).status == ReclaimStatus.KNOWN
    again = await store.confirm(target("p", 1), "pay")
    assert (again.status, again.record) == (ConfirmStatus.REPLAYED, sold.record)
    assert (await store.confirm(target("p", 1), "x")).status == ConfirmStatus.ALREADY_CONFIRMED
    assert (await reserve(store, "p", (1, "a", 2))).verdicts == b"1"
    assert await subject.state(["p"]) == before
    await store.return_sale(target("p", 1), 0, "command")
    assert (await store.snapshot("p")).counters == PoolCounters(10, 10, 0, 0, 0)


async def test_lanes_learn_that_there_is_a_new_digest(store):
    await create(store)
    grants, _ = await store.known("p", 10)
    await reclaim(store)
    assert await store.known("p", 10) == (grants + 1, frozenset([key(1).encode()]))


@pytest.mark.parametrize("until_ms", [-5_000, 30_000])
async def test_it_is_forgotten_when_others_are(subject, store, until_ms):
    await create(store)
    await reclaim(store, deadline_ms=START_MS + until_ms)
    forget_at_ms = START_MS + max(0, until_ms) + RETENTION_MS
    assert (await subject.state(["p"])).due == {"p": forget_at_ms}
    await subject.set_clock(forget_at_ms - 1)
    await store.expire("p", 8)
    assert (await store.lookup(0, [key(1)])).records[0] is not None
    await subject.set_clock(forget_at_ms)
    await store.expire("p", 8)
    assert (await store.lookup(0, [key(1)])).records == (None,)


async def test_without_stock_the_refund_is_due_once(subject, store):
    await create(store, total=2)
    await hold(store, "p", (2, "b", 1))
    for _ in range(2):
        reply = await reclaim(store)
        assert (reply.status, reply.record) == (ReclaimStatus.REFUND_DUE, None)
    assert (await store.snapshot("p")).counters == PoolCounters(2, 1, 1, 0, 0)
    found = await events_of(subject)
    assert found[-1] == RefundDue("p", START_MS, key(1), 2, "a", "pay")
    assert sum(isinstance(event, RefundDue) for event in found) == 1
    await store.cancel(target("p", 2), "cancelled")
    assert (await reclaim(store)).status == ReclaimStatus.REFUND_DUE, "the money is on its way"
    assert (await reclaim(store, payment="other")).status == ReclaimStatus.RECLAIMED


async def test_what_others_let_expire_is_stock(subject, store):
    await create(store, total=2)
    await hold(store, "p", (2, "b", 2))
    await subject.set_clock(START_MS + HOLD_MS)
    assert (await reclaim(store)).status == ReclaimStatus.RECLAIMED
    assert (await store.snapshot("p")).counters == PoolCounters(2, 0, 0, 2, 0)
    assert (await subject.state(["p"])).pools["p"].buyers == {"a": 2}


async def test_the_buyers_limit_holds(subject, store):
    await create(store, per_buyer_limit=2)
    await hold(store, "p", (2, "a", 1))
    assert (await reclaim(store)).status == ReclaimStatus.REFUND_DUE
    assert (await reclaim(store, number=3, buyer="b", payment="q")).status == (
        ReclaimStatus.RECLAIMED
    )
    check(await subject.state(["p"]), {"p": 2})


async def test_a_closed_pool_sells_nothing_any_more(store):
    await create(store)
    await store.configure("p", {"state": PoolState.PAUSED}, created=None)
    assert (await reclaim(store)).status == ReclaimStatus.RECLAIMED
    await store.configure("p", {"state": PoolState.CLOSED}, created=None)
    assert (await reclaim(store, number=2, payment="q")).status == ReclaimStatus.REFUND_DUE


async def test_a_payment_that_paid_for_something_else_is_refused(subject, store):
    await create(store)
    await hold(store, "p", (2, "b", 1))
    await store.confirm(target("p", 2), "pay")
    before = await subject.state(["p"])
    assert (await reclaim(store)).status == ReclaimStatus.PAYMENT_REF_USED
    assert await subject.state(["p"]) == before


async def test_another_pools_reservation_under_the_digest_is_not_written_over(subject, store):
    """The key was used again, for another pool, after its first hold was lost."""
    await create(store, "p")
    await create(store, "q")
    await hold(store, "q", (1, "b", 1))
    (theirs,) = (await store.lookup(0, [key(1)])).records
    assert (await reclaim(store)).status == ReclaimStatus.REFUND_DUE
    assert (await store.lookup(0, [key(1)])).records == (theirs,)
    check(await subject.state(["p", "q"]), {})


async def test_a_refund_on_record_stays_due_when_the_units_are_held_again(subject, store):
    await create(store, total=2)
    await hold(store, "p", (2, "b", 2))
    await reclaim(store)
    await store.cancel(target("p", 2), "cancelled")
    await hold(store, "p", (1, "a", 2))
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REFUND_DUE
    assert (await store.confirm(target("p", 1), "new")).status == ConfirmStatus.CONFIRMED
    check(await subject.state(["p"]), {})


async def test_what_is_known_is_left_to_confirm(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    before = await subject.state(["p"])
    reply = await reclaim(store)
    assert (reply.status, reply.record) == (ReclaimStatus.KNOWN, None)
    assert await subject.state(["p"]) == before


async def test_nothing_is_reclaimed_from_a_pool_that_does_not_exist(store):
    claims = {"buyer": "a", "quantity": 1, "deadline_ms": DEADLINE_MS}
    with pytest.raises(UnknownPool):
        await store.reclaim(ReservationId("nowhere", key(1)), "pay", **claims)
