"""When units are taken: at the reservation until somebody ends it, or at the payment."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import CancelStatus, ConfirmStatus, ExtendStatus, Verdict
from flashstock.model.events import Confirmed, Held, Hold, RefundDue, Withdrawn
from flashstock.model.records import unpack_record
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters, Wave
from flashstock.model.states import DeductMode, PoolState, ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, reserve, target, verdicts
from tests.reference.subjects import RETENTION_MS, START_MS

ORDER, PAYMENT = DeductMode.ORDER, DeductMode.PAYMENT
HELD, ORDERED = ReservationState.HELD, ReservationState.ORDERED
CONFIRMED, CANCELLED = ReservationState.CONFIRMED, ReservationState.CANCELLED


async def record(subject, number=1):
    return (await subject.state(["p"])).records.get(key(number))


async def test_an_order_keeps_its_units_until_somebody_ends_it(subject, store):
    await create(store, deduct=ORDER)
    reply = await hold(store, "p", (1, "a", 2), (2, "b", 1))
    assert (reply.deadline_ms, reply.ordered) == (NO_DEADLINE_MS, False)
    await subject.set_clock(START_MS + 100 * RETENTION_MS)
    assert await store.expire("p", 8) == (0, NO_DEADLINE_MS)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 7, 3, 0, 0)
    again = await reserve(store, "p", (1, "a", 2))
    assert unpack_record(again.replays[0].decode()).state is HELD
    extended = await store.extend(target("p", 1), HOLD_MS)
    assert extended.status == ExtendStatus.UNCHANGED


@pytest.mark.parametrize("end", ["cancel", "pay"])
async def test_an_order_that_has_ended_is_forgotten_as_others_are(subject, store, end):
    """Its end is its deadline, and the other reservations of its batch stay what they are."""
    await create(store, deduct=ORDER)
    await hold(store, "p", (1, "a", 2), (2, "b", 1))
    await subject.set_clock(START_MS + 5)
    if end == "cancel":
        reply = await store.cancel(target("p", 1), "cancelled")
        assert (reply.status, reply.record.state) == (CancelStatus.CANCELLED, CANCELLED)
    else:
        reply = await store.confirm(target("p", 1), "pay")
        assert (reply.status, reply.record.state) == (ConfirmStatus.CONFIRMED, CONFIRMED)
    assert reply.record.deadline_ms == START_MS + 5
    state = await subject.state(["p"])
    assert state.pools["p"].deadlines == {key(2): NO_DEADLINE_MS}
    assert state.pools["p"].retired == {key(1): START_MS + 5 + RETENTION_MS}
    assert state.due == {"p": START_MS + 5 + RETENTION_MS}
    known = await store.known("p", 10)
    assert known[1] == {key(1).encode(), key(2).encode()}
    await subject.set_clock(START_MS + 4 + RETENTION_MS)
    await store.expire("p", 8)
    assert await record(subject, 1) is not None
    await subject.set_clock(START_MS + 5 + RETENTION_MS)
    assert await store.expire("p", 8) == (0, NO_DEADLINE_MS)
    assert await record(subject, 1) is None
    assert (await record(subject, 2)).state is HELD


async def test_nothing_is_held_before_the_payment(subject, store):
    await create(store, total=3, deduct=PAYMENT)
    reply = await hold(store, "p", (1, "a", 3), (2, "b", 2), (3, "c", 3))
    assert (reply.ordered, reply.available, reply.grants) == (True, 3, 3)
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(3, 3, 0, 0, 0)
    assert state.pools["p"].buyers == {}
    assert {found.state for found in state.records.values()} == {ORDERED}
    holds = tuple(Hold(key(n), b, q, "") for n, b, q in ((1, "a", 3), (2, "b", 2), (3, "c", 3)))
    assert state.log[-1] == (2, Held("p", START_MS, START_MS + HOLD_MS, holds, ORDERED))
    again = await reserve(store, "p", (1, "a", 3), (2, "b", 1))
    assert again.verdicts == b"12"


async def test_the_payment_takes_the_units_while_there_are_some(subject, store):
    await create(store, total=3, deduct=PAYMENT)
    await hold(store, "p", (1, "a", 2), (2, "b", 2))
    paid = await store.confirm(target("p", 2), "pay-2")
    assert (paid.status, paid.record.state) == (ConfirmStatus.CONFIRMED, CONFIRMED)
    late = await store.confirm(target("p", 1), "pay-1")
    assert (late.status, late.record.state) == (ConfirmStatus.REFUND_DUE, ORDERED)
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(3, 1, 0, 2, 0)
    assert state.pools["p"].buyers == {"b": 2}
    assert [event for _, event in state.log[-2:]] == [
        Confirmed("p", START_MS, key(2), ORDERED, 2, "b", "pay-2", 1),
        RefundDue("p", START_MS, key(1), 2, "a", "pay-1"),
    ]
    for reference, status in (("pay-2", ConfirmStatus.REPLAYED), ("pay-9", 3)):
        assert (await store.confirm(target("p", 2), reference)).status == status
    assert (await store.confirm(target("p", 1), "pay-1")).status == ConfirmStatus.REFUND_DUE
    await store.adjust("p", 1, 0, "more")
    assert (await store.confirm(target("p", 1), "pay-3")).status == ConfirmStatus.CONFIRMED


async def test_a_reservation_needs_units_to_be_there(store):
    await create(store, total=2, deduct=PAYMENT)
    assert await verdicts(store, "p", (1, "a", 3), (2, "b", 2)) == [Verdict.SOLD_OUT, Verdict.HELD]
    await store.confirm(target("p", 2), "pay")
    assert await verdicts(store, "p", (3, "c", 1)) == [Verdict.SOLD_OUT]


async def test_the_limit_counts_what_is_paid(store):
    await create(store, deduct=PAYMENT, per_buyer_limit=2)
    given = await verdicts(store, "p", (1, "a", 2), (2, "a", 2), (3, "a", 3))
    assert given == [Verdict.HELD, Verdict.HELD, Verdict.BUYER_LIMIT]
    assert (await store.confirm(target("p", 1), "pay-1")).status == ConfirmStatus.CONFIRMED
    assert (await store.confirm(target("p", 2), "pay-2")).status == ConfirmStatus.REFUND_DUE
    assert await verdicts(store, "p", (4, "a", 1)) == [Verdict.BUYER_LIMIT]


async def test_it_can_be_paid_after_its_deadline_and_is_forgotten_like_others(subject, store):
    await create(store, total=3, deduct=PAYMENT)
    await hold(store, "p", (1, "a", 1), (2, "b", 1), (3, "c", 1))
    await subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    assert (await record(subject)).state is ORDERED
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.CONFIRMED
    await subject.set_clock(START_MS + HOLD_MS + RETENTION_MS - 1)
    assert (await store.confirm(target("p", 2), "later")).status == ConfirmStatus.CONFIRMED
    await subject.set_clock(START_MS + HOLD_MS + RETENTION_MS)
    await store.expire("p", 8)
    assert (await subject.state(["p"])).records == {}
    assert (await store.confirm(target("p", 3), "too late")).status == ConfirmStatus.UNKNOWN


@pytest.mark.parametrize(("kind", "state"), [("cancelled", CANCELLED), ("revoked", "revoked")])
async def test_what_is_ordered_can_be_withdrawn(subject, store, kind, state):
    await create(store, deduct=PAYMENT)
    await hold(store, "p", (1, "a", 2))
    reply = await store.cancel(target("p", 1), kind)
    assert (reply.status, reply.record.state) == (CancelStatus.CANCELLED, state)
    assert (await store.cancel(target("p", 1), kind)).status == CancelStatus.REPLAYED
    found = await subject.state(["p"])
    assert found.pools["p"].counters == PoolCounters(10, 10, 0, 0, 0)
    assert found.log[-1] == (3, Withdrawn("p", START_MS, key(1), 2, ReservationState(state)))
    late = await store.confirm(target("p", 1), "pay")
    assert late.status == ConfirmStatus.ALREADY_CANCELLED


async def test_there_is_nothing_to_keep_longer(subject, store):
    await create(store, deduct=PAYMENT)
    await hold(store, "p", (1, "a", 1))
    before = await subject.state(["p"])
    assert (await store.extend(target("p", 1), 9 * HOLD_MS)).status == ExtendStatus.UNCHANGED
    assert await subject.state(["p"]) == before


async def test_a_closed_pool_takes_no_payment_for_what_holds_nothing(store):
    await create(store, deduct=PAYMENT)
    await hold(store, "p", (1, "a", 1))
    await store.configure("p", {"state": PoolState.CLOSED}, created=None)
    assert (await store.confirm(target("p", 1), "pay")).status == ConfirmStatus.REFUND_DUE


async def test_a_cart_has_lines_of_every_mode(subject, store):
    await create(store, "p", deduct=PAYMENT, per_buyer_limit=1)
    await create(store, "q", deduct=ORDER)
    await create(store, "r")
    lines = [("p", key(1), 1), ("q", key(2), 2), ("r", key(3), 3)]
    reply = await store.reserve_cart(0, "cart", "a", lines)
    assert reply.held
    assert [(line.record.state, line.available) for line in reply.lines] == [
        (ORDERED, 10),
        (HELD, 8),
        (HELD, 7),
    ]
    assert [line.record.deadline_ms for line in reply.lines] == [
        START_MS + HOLD_MS,
        NO_DEADLINE_MS,
        START_MS + HOLD_MS,
    ]
    state = await subject.state(["p", "q", "r"])
    assert [pool.buyers for pool in state.pools.values()] == [{}, {"a": 2}, {"a": 3}]
    again = await store.reserve_cart(0, "cart", "a", lines)
    assert [line.verdict for line in again.lines] == [Verdict.REPLAYED] * 3


async def test_a_receipt_of_a_lost_order_is_worth_its_units(subject, store):
    await create(store, deduct=ORDER)
    reply = await store.reclaim(
        target("p", 1), "pay", buyer="a", quantity=2, deadline_ms=NO_DEADLINE_MS
    )
    assert (reply.record.state, reply.record.deadline_ms) == (CONFIRMED, START_MS)
    state = await subject.state(["p"])
    assert state.pools["p"].retired == {key(1): START_MS + RETENTION_MS}


async def test_another_mode_holds_for_what_comes_after(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    await store.configure("p", {"deduct": "payment"}, created=None)
    await hold(store, "p", (2, "b", 1))
    await store.configure("p", {"deduct": "order"}, created=None)
    await hold(store, "p", (3, "c", 1))
    assert [(await record(subject, n)).state for n in (1, 2, 3)] == [HELD, ORDERED, HELD]
    await subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 9, 1, 0, 0)
    assert (await store.confirm(target("p", 2), "pay-2")).status == ConfirmStatus.CONFIRMED
    assert (await store.confirm(target("p", 3), "pay-3")).status == ConfirmStatus.CONFIRMED


async def test_a_wave_that_comes_to_a_live_pool_is_on_the_timetable(subject, store):
    """Units are locked by an adjustment, and the rules say when they are let go."""
    await create(store, total=10)
    assert (await subject.state(["p"])).due == {}
    await store.adjust("p", 5, 5, "more for later")
    waves = f"{START_MS + 7}:2,{START_MS + 9}:3"
    _, snapshot = await store.configure("p", {"waves": waves}, created=None)
    assert snapshot.rules.waves == (Wave(START_MS + 7, 2), Wave(START_MS + 9, 3))
    assert (await subject.state(["p"])).due == {"p": START_MS + 7}
    await subject.set_clock(START_MS + 7)
    assert await store.expire("p", 8) == (0, START_MS + 9)
    assert (await store.snapshot("p")).counters == PoolCounters(15, 12, 0, 0, 3)
    # One that is earlier than what is on the timetable comes first.
    await store.configure("p", {"waves": f"{START_MS + 8}:3"}, created=None)
    assert (await subject.state(["p"])).due == {"p": START_MS + 8}
