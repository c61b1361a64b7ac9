"""Confirming: once, by one payment; a payment that comes too late is never forgotten."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import ConfirmStatus, ExtendStatus
from flashstock.model.events import Confirmed, RefundDue
from flashstock.model.ids import ReservationId
from flashstock.model.rules import PoolCounters
from flashstock.model.states import PoolState, ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, target
from tests.reference.subjects import START_MS

EXPIRED_AT_MS = START_MS + HOLD_MS


async def expired(subject, store, total=1, **rules):
    """A pool whose hold number 1, by buyer a, has been ended by time."""
    await create(store, total=total, **rules)
    await hold(store, "p", (1, "a", 1))
    await subject.set_clock(EXPIRED_AT_MS)
    await store.expire("p", 8)


async def last_event(subject):
    return (await subject.state(["p"])).log[-1][1]


async def test_a_payment_makes_a_sale(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    reply = await store.confirm(target("p", 1), "pay")
    assert reply.status == ConfirmStatus.CONFIRMED
    assert reply.record.state is ReservationState.CONFIRMED
    assert (reply.record.payment_ref, reply.record.order_index) == ("pay", 1)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 8, 0, 2, 0)
    assert await last_event(subject) == Confirmed(
        "p", START_MS, key(1), ReservationState.HELD, 2, "a", "pay", 1
    )


async def test_the_same_payment_again_changes_nothing(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    first = await store.confirm(target("p", 1), "pay")
    before = await subject.state(["p"])
    again = await store.confirm(target("p", 1), "pay")
    assert again.status == ConfirmStatus.REPLAYED
    assert again.record == first.record
    assert await subject.state(["p"]) == before


async def test_orders_are_counted_one_by_one(store):
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "b", 1))
    replies = [await store.confirm(target("p", n), f"pay{n}") for n in (1, 2)]
    assert [reply.record.order_index for reply in replies] == [1, 2]


async def test_another_payment_of_a_sale_is_refused(store):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    await store.confirm(target("p", 1), "pay")
    reply = await store.confirm(target("p", 1), "other")
    assert reply.status == ConfirmStatus.ALREADY_CONFIRMED
    await store.return_sale(target("p", 1), 0, "command")
    reply = await store.confirm(target("p", 1), "other")
    assert reply.status == ConfirmStatus.ALREADY_CONFIRMED
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REPLAYED


async def test_a_payment_confirms_one_reservation_only(subject, store):
    await create(store, "p")
    await create(store, "q")
    await hold(store, "p", (1, "a", 1), (2, "a", 1))
    await hold(store, "q", (3, "a", 1))
    await store.confirm(target("p", 1), "pay")
    before = await subject.state(["p", "q"])
    for other in (target("p", 2), target("q", 3)):
        reply = await store.confirm(other, "pay")
        assert reply.status == ConfirmStatus.PAYMENT_REF_USED
        assert reply.record.state is ReservationState.HELD
    assert await subject.state(["p", "q"]) == before


@pytest.mark.parametrize("stranger", [ReservationId("p", key(9)), ReservationId("q", key(1))])
async def test_nobody_knows_such_a_reservation(store, stranger):
    """Also where the digest is another pool's."""
    await create(store, "p")
    await create(store, "q")
    await hold(store, "p", (1, "a", 1))
    reply = await store.confirm(stranger, "pay")
    assert (reply.status, reply.record) == (ConfirmStatus.UNKNOWN, None)


async def test_an_overdue_hold_that_nobody_ended_is_still_the_buyers(subject, store):
    await create(store, total=1)
    await hold(store, "p", (1, "a", 1))
    await subject.set_clock(EXPIRED_AT_MS + 5000)
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.CONFIRMED
    assert (await store.extend(target("p", 1), 1)).status == ExtendStatus.ALREADY_CONFIRMED


async def test_a_late_payment_is_served_from_stock(subject, store):
    await expired(subject, store)
    reply = await store.confirm(target("p", 1), "pay")
    assert reply.status == ConfirmStatus.CONFIRMED
    assert (await store.snapshot("p")).counters == PoolCounters(1, 0, 0, 1, 0)
    event = await last_event(subject)
    assert event.before is ReservationState.EXPIRED
    assert (await subject.state(["p"])).pools["p"].buyers == {"a": 1}


async def test_a_late_payment_takes_what_another_let_expire(subject, store):
    await expired(subject, store)
    await hold(store, "p", (2, "b", 1))
    await subject.set_clock(EXPIRED_AT_MS + HOLD_MS)
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.CONFIRMED
    assert (await store.lookup(0, [key(2)])).records[0].state is ReservationState.EXPIRED
    assert (await store.snapshot("p")).counters == PoolCounters(1, 0, 0, 1, 0)


async def test_a_late_payment_without_stock_is_due_back(subject, store):
    await expired(subject, store)
    await hold(store, "p", (2, "b", 1))
    reply = await store.confirm(target("p", 1), "pay")
    assert reply.status == ConfirmStatus.REFUND_DUE
    assert reply.record.state is ReservationState.EXPIRED
    assert await last_event(subject) == RefundDue("p", EXPIRED_AT_MS, key(1), 1, "a", "pay")
    before = await subject.state(["p"])
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REFUND_DUE
    assert await subject.state(["p"]) == before
    assert before.pools["p"].counters == PoolCounters(1, 0, 1, 0, 0)


async def test_a_payment_that_is_due_back_confirms_nothing_else(subject, store):
    await expired(subject, store)
    await hold(store, "p", (2, "b", 1))
    await store.confirm(target("p", 1), "pay")
    assert (await store.confirm(target("p", 2), "pay")).status == ConfirmStatus.PAYMENT_REF_USED


async def test_a_late_payment_respects_the_limit(subject, store):
    await expired(subject, store, total=5, per_buyer_limit=1)
    await hold(store, "p", (2, "a", 1))
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REFUND_DUE
    await store.cancel(target("p", 2), "cancelled")
    assert (await store.confirm(target("p", 1), "new")).status == ConfirmStatus.CONFIRMED


async def test_a_late_payment_finds_a_closed_pool_closed(subject, store):
    await expired(subject, store, total=5)
    await store.configure("p", {"state": PoolState.CLOSED}, created=None)
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REFUND_DUE


@pytest.mark.parametrize("kind", ["cancelled", "revoked"])
async def test_a_payment_after_the_cancellation_is_due_back(subject, store, kind):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    await store.cancel(target("p", 1), kind)
    for _ in range(2):
        reply = await store.confirm(target("p", 1), "pay")
        assert reply.status == ConfirmStatus.ALREADY_CANCELLED
    log = (await subject.state(["p"])).log
    assert [event for _, event in log if isinstance(event, RefundDue)] == [
        RefundDue("p", START_MS, key(1), 1, "a", "pay")
    ]
    assert (await store.snapshot("p")).counters == PoolCounters(10, 10, 0, 0, 0)
