"""Payments for seats: which count, which form the group, which are due back."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import ConfirmStatus, PaySeatStatus, ReclaimStatus, ReturnSaleStatus
from flashstock.model.events import (
    Confirmed,
    GroupFailed,
    GroupFormed,
    OpenerPassed,
    RefundDue,
    RefundedSeat,
    Release,
    SeatPaid,
    SeatsRefunded,
    SeatsServed,
)
from flashstock.model.group_rules import GroupDeduct
from flashstock.model.rules import PoolCounters, Wave
from flashstock.model.states import FailReason, GroupState, ReservationState
from tests.reference.asking import HOLD_MS, create, key, target
from tests.reference.group_asking import (
    DEADLINE_MS,
    OPEN,
    RULES,
    group,
    seat,
    seated,
    sell_to_groups,
    verdicts,
)
from tests.reference.subjects import START_MS


@pytest.fixture
def store(group_subject):
    return group_subject.store


FORM = GroupDeduct.FORM
CONFIRMED, PAID = ReservationState.CONFIRMED, ReservationState.PAID
REFUNDED = ReservationState.REFUNDED
BOTH_MODES = pytest.mark.parametrize("deduct", GroupDeduct)


async def pay(store, number, reference=None):
    return await store.confirm(target("p", number), reference or f"pay {number}")


async def log(subject):
    return [event for _, event in (await subject.state(["p"])).log]


async def three_in_a_group(store, **rules):
    """The opener's key is 1."""
    await sell_to_groups(store, **rules)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1))


async def test_the_last_payment_forms_the_group(group_subject, store):
    await three_in_a_group(store)
    first = await pay(store, 1)
    assert (first.status, first.record.state) == (PaySeatStatus.CONFIRMED, CONFIRMED)
    assert (first.group.state, first.group.pending, first.group.paid) == (GroupState.OPEN, 2, 1)
    await pay(store, 2)
    last = await pay(store, 3)
    assert (last.group.state, last.group.pending, last.group.paid) == (GroupState.FORMED, 0, 3)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 7, 0, 3, 0)
    held = ReservationState.HELD
    assert (await log(group_subject))[-2:] == [
        Confirmed("p", START_MS, key(3), held, 1, "c", "pay 3", 3),
        GroupFormed("p", START_MS, key(1), 3, 0),
    ]


async def test_where_units_are_taken_then_all_are_at_once(group_subject, store):
    await three_in_a_group(store, deduct=FORM)
    for number in (2, 1):
        reply = await pay(store, number)
        assert (reply.status, reply.record.state) == (PaySeatStatus.CONFIRMED, PAID)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 10, 0, 0, 0)
    assert (await group_subject.state(["p"])).pools["p"].buyers == {"a": 1, "b": 1}
    last = await pay(store, 3)
    assert (last.status, last.record.state) == (PaySeatStatus.CONFIRMED, CONFIRMED)
    assert (await seat(store, 1)).state is CONFIRMED
    assert (await store.snapshot("p")).counters == PoolCounters(10, 7, 0, 3, 0)
    ordered = ReservationState.ORDERED
    served = tuple(Release(key(number), 1) for number in (2, 1, 3))
    assert (await log(group_subject))[-3:] == [
        SeatPaid("p", START_MS, key(3), ordered, 1, "c", "pay 3", 3),
        SeatsServed("p", START_MS, key(1), served),
        GroupFormed("p", START_MS, key(1), 3, 0),
    ]


@BOTH_MODES
async def test_a_payment_counts_once(store, deduct):
    await three_in_a_group(store, deduct=deduct)
    first = await pay(store, 1)
    again = await pay(store, 1)
    assert (again.status, again.record, again.seq) == (1, first.record, first.seq)
    assert again.status == PaySeatStatus.REPLAYED
    assert (await pay(store, 1, "other")).status == PaySeatStatus.ALREADY_CONFIRMED
    assert (await pay(store, 2, "pay 1")).status == PaySeatStatus.PAYMENT_REF_USED
    assert (await group(store, 1)).record.paid == 1


async def test_what_nobody_asked_for_is_not_paid(store):
    await sell_to_groups(store)
    assert (await pay(store, 9)).status == ConfirmStatus.UNKNOWN
    reply = await store.pay_seat(target("p", 9), "pay")
    assert (reply.status, reply.record) == (PaySeatStatus.UNKNOWN, None)


async def test_confirm_itself_decides_nothing_of_a_seat(group_subject, store):
    """ConfirmStatus.GROUP_SEAT is the script's, never the store's."""
    await three_in_a_group(store)
    if hasattr(group_subject, "client"):
        arguments = [key(1), "pay 1", str(target("p", 1))]
        _, reply = await store._call_pool("confirm", "p", arguments, "x" * 16)
        assert reply[0] == ConfirmStatus.GROUP_SEAT
        assert (await store.snapshot("p")).seq == reply[2]
    assert (await pay(store, 1)).status == ConfirmStatus.CONFIRMED


@BOTH_MODES
async def test_a_seat_past_its_deadline_is_served_while_nobody_ended_it(
    group_subject, store, deduct
):
    await three_in_a_group(store, deduct=deduct)
    await group_subject.set_clock(START_MS + HOLD_MS)
    assert (await pay(store, 1)).status == PaySeatStatus.CONFIRMED


@BOTH_MODES
async def test_an_expired_seat_is_taken_again_if_its_group_has_a_place(
    group_subject, store, deduct
):
    await three_in_a_group(store, deduct=deduct)
    await pay(store, 2)
    await group_subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    found = (await group(store, 1)).record
    assert (found.pending, found.paid, found.opener) == (0, 1, key(2))
    await seated(store, (4, "d", 1), (5, "e", 1))
    before = (await store.snapshot("p")).counters
    refused = await pay(store, 3)
    assert refused.status == PaySeatStatus.REFUND_DUE
    assert (await store.snapshot("p")).counters == before
    await store.cancel(target("p", 5), "cancelled")
    reply = await pay(store, 3, "another")
    assert reply.status == PaySeatStatus.CONFIRMED
    assert reply.record.state is (PAID if deduct is FORM else CONFIRMED)
    assert (await group(store, 1)).record.paid == 2


async def test_a_place_that_has_expired_meanwhile_is_free(group_subject, store):
    """The one who comes late takes it from one who has not paid either, and never will."""
    await three_in_a_group(store)
    await pay(store, 1)
    await group_subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    await seated(store, (4, "d", 1), (5, "e", 1))
    await group_subject.set_clock(START_MS + 2 * HOLD_MS)
    reply = await pay(store, 3)
    assert (reply.status, reply.group.paid) == (PaySeatStatus.CONFIRMED, 2)
    assert (await seat(store, 4)).state is ReservationState.EXPIRED


@pytest.mark.parametrize(
    ("rules", "pool_rules", "others"),
    [
        ({}, {}, [(4, "b", 1)]),
        ({"groups_per_buyer": 1}, {}, [(4, "b", OPEN)]),
        ({"size": 9, "seats_per_buyer": 9}, {"per_buyer_limit": 1}, [(4, "b", 1)]),
        ({"size": 9, "total": 2}, {}, [(4, "d", 1)]),
    ],
    ids=["seats", "groups", "buyer's limit", "stock"],
)
async def test_an_expired_seat_is_not_taken_again_against_a_limit(
    group_subject, store, rules, pool_rules, others
):
    await sell_to_groups(store, **{"total": 9, **rules}, pool_rules=pool_rules)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 1)
    await group_subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    await seated(store, *others)
    assert (await pay(store, 2)).status == PaySeatStatus.REFUND_DUE
    assert (await log(group_subject))[-1] == RefundDue(
        "p", START_MS + HOLD_MS, key(2), 1, "b", "pay 2"
    )
    again = await pay(store, 2)
    assert again.status == PaySeatStatus.REFUND_DUE
    assert (await store.snapshot("p")).seq == again.seq


async def test_a_payment_for_a_seat_that_was_given_up_is_due_back(group_subject, store):
    await three_in_a_group(store)
    await store.cancel(target("p", 2), "cancelled")
    reply = await pay(store, 2)
    assert reply.status == PaySeatStatus.ALREADY_CANCELLED
    assert (await log(group_subject))[-1] == RefundDue("p", START_MS, key(2), 1, "b", "pay 2")
    assert (await pay(store, 2)).status == PaySeatStatus.ALREADY_CANCELLED
    assert (await log(group_subject)).count(RefundDue("p", START_MS, key(2), 1, "b", "pay 2")) == 1


async def test_a_second_payment_for_a_refunded_seat_is_due_back_too(group_subject, store):
    await three_in_a_group(store)
    await pay(store, 2)
    await store.cancel(target("p", 2), "cancelled")
    assert (await pay(store, 2)).status == PaySeatStatus.REFUND_DUE
    assert not [event for event in await log(group_subject) if isinstance(event, RefundDue)]
    assert (await pay(store, 2, "again")).status == PaySeatStatus.REFUND_DUE
    assert (await log(group_subject))[-1] == RefundDue("p", START_MS, key(2), 1, "b", "again")


async def test_stock_is_looked_at_when_a_member_pays(group_subject, store):
    await three_in_a_group(store, total=1, deduct=FORM)
    await store.adjust("p", -1, 0, "gone")
    assert (await pay(store, 1)).status == PaySeatStatus.REFUND_DUE
    assert (await seat(store, 1)).state is ReservationState.ORDERED
    assert (await log(group_subject))[-1] == RefundDue("p", START_MS, key(1), 1, "a", "pay 1")


async def test_a_group_that_cannot_be_served_fails_as_a_whole(group_subject, store):
    await three_in_a_group(store, total=2, deduct=FORM)
    await pay(store, 1)
    await pay(store, 2)
    last = await pay(store, 3)
    assert (last.status, last.record.state) == (PaySeatStatus.REFUND_DUE, REFUNDED)
    assert (last.group.state, last.group.paid) == (GroupState.FAILED, 0)
    assert (await store.snapshot("p")).counters == PoolCounters(2, 2, 0, 0, 0)
    buyers = {1: "a", 2: "b", 3: "c"}
    refunded = tuple(
        RefundedSeat(key(number), PAID, 1, buyer, f"pay {number}")
        for number, buyer in buyers.items()
    )
    assert (await log(group_subject))[-2:] == [
        GroupFailed("p", START_MS, key(1), FailReason.NO_STOCK, 3),
        SeatsRefunded("p", START_MS, key(1), refunded),
    ]
    assert (await pay(store, 1)).status == PaySeatStatus.REFUND_DUE
    assert (await group_subject.state(["p"])).pools["p"].buyers == {}


async def test_a_group_that_forms_finds_units_in_a_wave_that_is_due(group_subject, store):
    text = RULES.text.replace("pay", "form")
    waves = (Wave(START_MS + 5, 2),)
    await create(store, "p", total=3, locked=2, waves=waves, group_buy=text)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1))
    await pay(store, 1)
    await pay(store, 2)
    await group_subject.set_clock(START_MS + 5)
    assert (await pay(store, 3)).group.state is GroupState.FORMED
    assert (await store.snapshot("p")).counters == PoolCounters(3, 0, 0, 3, 0)


async def test_a_seat_may_be_of_several_units(store):
    await sell_to_groups(store, total=10, size=2, deduct=FORM)
    await seated(store, (1, "a", OPEN), units=4)
    await seated(store, (2, "b", 1), units=5)
    await pay(store, 1)
    await pay(store, 2)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 1, 0, 9, 0)


async def test_a_payment_at_the_deadline_is_too_late(group_subject, store):
    await three_in_a_group(store, life_ms=HOLD_MS)
    await pay(store, 1)
    await pay(store, 2)
    await group_subject.set_clock(START_MS + HOLD_MS - 1)
    assert (await group(store, 1)).record.state is GroupState.OPEN
    await group_subject.set_clock(START_MS + HOLD_MS)
    reply = await pay(store, 3)
    assert (reply.status, reply.record.state) == (
        PaySeatStatus.REFUND_DUE,
        ReservationState.EXPIRED,
    )
    assert reply.group.state is GroupState.FAILED
    assert (await store.snapshot("p")).counters == PoolCounters(10, 10, 0, 0, 0)
    assert (await seat(store, 1)).state is REFUNDED


async def test_the_house_completes_before_a_late_payment(group_subject, store):
    await three_in_a_group(store, life_ms=HOLD_MS, house_max=1)
    await pay(store, 1)
    await pay(store, 2)
    await group_subject.set_clock(START_MS + HOLD_MS)
    reply = await pay(store, 3)
    assert (reply.status, reply.group.state) == (PaySeatStatus.REFUND_DUE, GroupState.FORMED)
    assert (reply.group.paid, reply.group.house, reply.group.pending) == (2, 1, 0)
    assert (await pay(store, 2)).status == PaySeatStatus.REPLAYED


async def test_a_closed_pool_still_takes_payments_for_what_it_holds(store):
    await three_in_a_group(store)
    await store.configure("p", {"state": "closed"}, created=None)
    assert [(await pay(store, number)).status for number in (1, 2, 3)] == [0, 0, 0]


async def test_who_paid_first_follows_an_opener_whose_seat_expired(group_subject, store):
    await three_in_a_group(store)
    await pay(store, 3)
    await pay(store, 2)
    await group_subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    assert OpenerPassed("p", START_MS + HOLD_MS, key(1), key(3)) in await log(group_subject)


async def test_nothing_is_returned_before_the_group_has_formed(group_subject, store):
    await three_in_a_group(store)
    await pay(store, 1)
    reply = await store.return_sale(target("p", 1), 0, "back 1")
    assert reply.status == ReturnSaleStatus.NOT_FORMED
    await pay(store, 2)
    await pay(store, 3)
    reply = await store.return_sale(target("p", 1), 0, "back 2")
    assert (reply.status, reply.record.state) == (
        ReturnSaleStatus.RETURNED,
        ReservationState.RETURNED,
    )
    found = (await group(store, 1)).record
    assert (found.state, found.paid) == (GroupState.FORMED, 3), "it touches its one member"
    assert (await store.snapshot("p")).counters == PoolCounters(10, 8, 0, 2, 0)


async def test_a_paid_seat_is_not_extended_and_a_pending_one_not_beyond_its_group(store):
    await three_in_a_group(store, life_ms=2 * HOLD_MS)
    reply = await store.extend(target("p", 1), 9 * HOLD_MS)
    assert reply.record.deadline_ms == START_MS + 2 * HOLD_MS
    await pay(store, 1)
    assert (await store.extend(target("p", 1), 9 * HOLD_MS)).status == 3


async def test_a_lost_seat_is_not_reclaimed(group_subject, store):
    """Whose seat it was is not known: the payment goes back."""
    await three_in_a_group(store)
    if not hasattr(group_subject, "client"):
        pytest.skip("the reference sells what is reclaimed")
    reply = await store.reclaim(
        target("p", 9), "pay 9", buyer="z", quantity=1, deadline_ms=DEADLINE_MS
    )
    assert reply.status == ReclaimStatus.REFUND_DUE
    assert (await log(group_subject))[-1] == RefundDue("p", START_MS, key(9), 1, "z", "pay 9")
    assert await verdicts(store, (9, "z", 1)) == [12]
