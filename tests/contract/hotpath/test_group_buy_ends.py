"""How groups end without a payment: left, failed, completed by the house; and are forgotten."""

from __future__ import annotations

import pytest

from flashstock.errors import UnknownPool
from flashstock.hotpath import keys
from flashstock.hotpath.scripts import (
    CancelStatus,
    ExpireStatus,
    LeaveGroupStatus,
    SettleGroupStatus,
    SweepGroupsStatus,
)
from flashstock.model.events import (
    GroupFailed,
    GroupFormed,
    OpenerPassed,
    RefundedSeat,
    Release,
    Released,
    SeatsRefunded,
    Withdrawn,
)
from flashstock.model.group_rules import GroupDeduct
from flashstock.model.ids import ReservationId
from flashstock.model.rules import PoolCounters
from flashstock.model.states import FailReason, GroupState, ReservationState
from tests.reference.asking import HOLD_MS, key, target
from tests.reference.group_asking import (
    DEADLINE_MS,
    LIFE_MS,
    OPEN,
    group,
    seat,
    seated,
    sell_to_groups,
    take,
    told,
)
from tests.reference.group_subjects import groups_on_server
from tests.reference.subjects import RETENTION_MS, START_MS


@pytest.fixture
def store(group_subject):
    return group_subject.store


FORM = GroupDeduct.FORM
HELD, ORDERED = ReservationState.HELD, ReservationState.ORDERED
CONFIRMED, PAID = ReservationState.CONFIRMED, ReservationState.PAID
CANCELLED, REVOKED = ReservationState.CANCELLED, ReservationState.REVOKED
EXPIRED, REFUNDED = ReservationState.EXPIRED, ReservationState.REFUNDED
BOTH_MODES = pytest.mark.parametrize("deduct", GroupDeduct)


async def pay(store, *numbers):
    for number in numbers:
        assert (await store.confirm(target("p", number), f"pay {number}")).status == 0


async def log(subject):
    return [event for _, event in (await subject.state(["p"])).log]


async def counters(store):
    return (await store.snapshot("p")).counters


async def states(store, *numbers):
    return [(await seat(store, number)).state for number in numbers]


@pytest.mark.parametrize(("kind", "state"), [("cancelled", CANCELLED), ("revoked", REVOKED)])
@BOTH_MODES
async def test_a_pending_seat_is_given_back_once(group_subject, store, deduct, kind, state):
    await sell_to_groups(store, deduct=deduct)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    reply = await store.cancel(target("p", 2), kind)
    assert (reply.status, reply.record.state) == (LeaveGroupStatus.CANCELLED, state)
    assert (reply.group.state, reply.group.pending) == (GroupState.OPEN, 1)
    again = await store.cancel(target("p", 2), kind)
    assert (again.status, again.seq) == (LeaveGroupStatus.REPLAYED, reply.seq)
    held = deduct is GroupDeduct.PAY
    release = (Release(key(2), 1),)
    assert (await log(group_subject))[-1] == (
        Released("p", START_MS, state, release)
        if held
        else Withdrawn("p", START_MS, key(2), 1, state)
    )
    assert await counters(store) == PoolCounters(10, 9 if held else 10, 1 if held else 0, 0, 0)


@BOTH_MODES
async def test_a_paid_seat_that_is_left_is_refunded(group_subject, store, deduct):
    await sell_to_groups(store, deduct=deduct)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 1, 2)
    reply = await store.cancel(target("p", 2), "cancelled")
    assert (reply.status, reply.record.state) == (LeaveGroupStatus.CANCELLED, REFUNDED)
    assert (reply.group.paid, reply.group.missing) == (1, 2)
    before = PAID if deduct is FORM else CONFIRMED
    refunded = (RefundedSeat(key(2), before, 1, "b", "pay 2"),)
    assert (await log(group_subject))[-1] == SeatsRefunded("p", START_MS, key(1), refunded)
    again = await store.cancel(target("p", 2), "cancelled")
    assert (again.status, again.seq) == (LeaveGroupStatus.REPLAYED, reply.seq)
    sold = 0 if deduct is FORM else 1
    assert await counters(store) == PoolCounters(10, 10 - sold, 0, sold, 0)
    assert (await group_subject.state(["p"])).pools["p"].buyers == {"a": 1}


async def test_nobody_leaves_a_group_that_has_formed(store):
    await sell_to_groups(store, size=2)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 1, 2)
    reply = await store.cancel(target("p", 2), "revoked")
    assert (reply.status, reply.record.state) == (LeaveGroupStatus.ALREADY_CONFIRMED, CONFIRMED)


async def test_what_nobody_asked_for_is_not_left(store):
    await sell_to_groups(store)
    assert (await store.cancel(target("p", 9), "cancelled")).status == CancelStatus.UNKNOWN
    reply = await store.leave_group(target("p", 9), "cancelled")
    assert (reply.status, reply.record) == (LeaveGroupStatus.UNKNOWN, None)


async def test_cancel_and_expire_themselves_decide_nothing_of_groups(group_subject, store):
    """CancelStatus.GROUP_SEAT and ExpireStatus.GROUP_POOL are the scripts', never the store's."""
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN))
    if hasattr(group_subject, "client"):
        _, reply = await store._call_pool("cancel", "p", [key(1), "cancelled"])
        assert reply[0] == CancelStatus.GROUP_SEAT
        await group_subject.set_clock(DEADLINE_MS)
        _, reply = await store._call_pool("expire", "p", [8])
        assert reply[0] == ExpireStatus.GROUP_POOL
    assert await states(store, 1) == [HELD]


async def test_the_earliest_paid_member_inherits_a_group(group_subject, store):
    await sell_to_groups(store, size=5)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1), (4, "d", 1))
    await pay(store, 4, 3)
    reply = await store.cancel(target("p", 1), "cancelled")
    assert reply.group.opener == key(4)
    assert (await log(group_subject))[-1] == OpenerPassed("p", START_MS, key(1), key(4))
    await store.cancel(target("p", 4), "cancelled")
    reply = await store.cancel(target("p", 3), "cancelled")
    assert reply.group.opener == key(2), "where nobody has paid, who asked first"


@BOTH_MODES
async def test_a_group_that_nobody_is_left_in_fails(group_subject, store, deduct):
    await sell_to_groups(store, deduct=deduct, open_max=1)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 2)
    await store.cancel(target("p", 1), "cancelled")
    reply = await store.cancel(target("p", 2), "cancelled")
    assert reply.group.state is GroupState.FAILED
    assert (await log(group_subject))[-1] == GroupFailed(
        "p", START_MS, key(1), FailReason.ABANDONED, 0
    )
    assert await counters(store) == PoolCounters(10, 10, 0, 0, 0)
    await seated(store, (3, "c", OPEN))


@BOTH_MODES
async def test_so_does_one_whose_last_seat_expires(group_subject, store, deduct):
    await sell_to_groups(store, deduct=deduct)
    await seated(store, (1, "a", OPEN))
    await group_subject.set_clock(START_MS + HOLD_MS)
    units, next_due_ms = await store.expire("p", 8)
    assert units == (0 if deduct is FORM else 1)
    assert next_due_ms == START_MS + HOLD_MS + RETENTION_MS
    failed = GroupFailed("p", START_MS + HOLD_MS, key(1), FailReason.ABANDONED, 0)
    assert (await log(group_subject))[-1] == failed


@BOTH_MODES
async def test_a_group_that_is_not_full_at_its_deadline_fails(group_subject, store, deduct):
    await sell_to_groups(store, deduct=deduct)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", OPEN))
    await pay(store, 1, 2, 3)
    await group_subject.set_clock(DEADLINE_MS - 1)
    assert (await store.expire("p", 8))[1] == DEADLINE_MS
    assert (await group(store, 1)).record.state is GroupState.OPEN
    await group_subject.set_clock(DEADLINE_MS)
    units, next_due_ms = await store.expire("p", 8)
    assert (units, next_due_ms) == (0 if deduct is FORM else 3, DEADLINE_MS - 1 + RETENTION_MS)
    assert await states(store, 1, 2, 3) == [REFUNDED] * 3
    assert await counters(store) == PoolCounters(10, 10, 0, 0, 0)
    ended = [event for event in await log(group_subject) if isinstance(event, GroupFailed)]
    assert {event.group for event in ended} == {key(1), key(3)}
    assert {(event.reason, event.at_ms) for event in ended} == {(FailReason.DEADLINE, DEADLINE_MS)}
    await store.expire("p", 8)
    assert [e for e in await log(group_subject) if isinstance(e, GroupFailed)] == ended


@pytest.mark.parametrize("how", ["settle", "pay", "leave", "leave unpaid"])
@BOTH_MODES
async def test_a_deadline_needs_no_sweeper(group_subject, store, deduct, how):
    await sell_to_groups(store, deduct=deduct, life_ms=HOLD_MS)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 1)
    await group_subject.set_clock(START_MS + HOLD_MS)
    if how == "settle":
        status, reply = await store.settle_group(target("p", 1))
        assert (status, reply.record) == (SettleGroupStatus.SETTLED, None)
    elif how == "pay":
        reply = await store.confirm(target("p", 1), "pay 1")
        assert (reply.status, reply.record.state) == (5, REFUNDED)
    elif how == "leave":
        reply = await store.cancel(target("p", 1), "cancelled")
        assert (reply.status, reply.record.state) == (LeaveGroupStatus.REPLAYED, REFUNDED)
    else:
        reply = await store.cancel(target("p", 2), "cancelled")
        assert (reply.status, reply.record.state) == (LeaveGroupStatus.EXPIRED, EXPIRED)
    assert (reply.group.state, reply.group.paid, reply.group.pending) == (GroupState.FAILED, 0, 0)
    assert await states(store, 1, 2) == [REFUNDED, EXPIRED]
    assert await counters(store) == PoolCounters(10, 10, 0, 0, 0)


async def test_settling_leaves_alone_what_is_not_due(store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN))
    status, reply = await store.settle_group(target("p", 1))
    assert (status, reply.group.state) == (SettleGroupStatus.OPEN, GroupState.OPEN)
    status, reply = await store.settle_group(target("p", 9))
    assert (status, reply.group) == (SettleGroupStatus.UNKNOWN, None)
    status, reply = await store.settle_group(ReservationId("q", key(1)))
    assert (status, reply.group) == (SettleGroupStatus.UNKNOWN, None)


@BOTH_MODES
async def test_the_house_completes_a_group_that_is_nearly_full(group_subject, store, deduct):
    await sell_to_groups(store, deduct=deduct, house_max=1)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", OPEN), (4, "d", OPEN), (5, "e", 4))
    await pay(store, 1, 2, 3, 4)
    await group_subject.set_clock(DEADLINE_MS)
    await store.expire("p", 8)
    formed = [event for event in await log(group_subject) if isinstance(event, GroupFormed)]
    assert formed == [GroupFormed("p", DEADLINE_MS, key(1), 2, 1)]
    assert await states(store, 1, 2, 3, 4, 5) == [CONFIRMED] * 2 + [REFUNDED] * 2 + [EXPIRED]
    found = (await group(store, 1)).record
    assert (found.state, found.paid, found.house, found.missing) == (GroupState.FORMED, 2, 1, 0)
    assert await counters(store) == PoolCounters(10, 8, 0, 2, 0)


async def test_the_house_completes_nothing_that_cannot_be_served(group_subject, store):
    await sell_to_groups(store, total=2, deduct=FORM, house_max=1)
    await seated(store, (1, "a", OPEN), (2, "b", 1))
    await pay(store, 1, 2)
    await store.adjust("p", -1, 0, "gone")
    await group_subject.set_clock(DEADLINE_MS)
    await store.expire("p", 8)
    failed = GroupFailed("p", DEADLINE_MS, key(1), FailReason.NO_STOCK, 2)
    assert failed in await log(group_subject)
    assert await states(store, 1, 2) == [REFUNDED] * 2


async def test_a_large_group_is_settled_in_bounded_parts(valkey_shard):
    store = valkey_shard.store
    await sell_to_groups(store, total=400, size=400, seats_per_buyer=400)
    requests = [(number, f"b{number}", 1 if number > 1 else OPEN) for number in range(1, 301)]
    for first in range(0, 300, 100):
        await seated(store, *requests[first : first + 100])
    await pay(store, *range(1, 291))
    await valkey_shard.set_clock(DEADLINE_MS)
    status, reply = await store.settle_group(target("p", 1))
    assert (status, reply.group.paid) == (SettleGroupStatus.MORE, 290 - 128)
    assert await states(store, 1, 128, 129) == [REFUNDED, REFUNDED, CONFIRMED]
    # To whoever asks, a seat that is settled later is settled now.
    late = await store.confirm(target("p", 290), "pay 290")
    assert (late.status, late.record.state) == (5, REFUNDED)
    late = await store.cancel(target("p", 289), "cancelled")
    assert (late.status, late.record.state) == (LeaveGroupStatus.REPLAYED, REFUNDED)
    assert told(await take(store, (999, "z", 1)), 1).state is GroupState.FAILED
    while (await store.settle_group(target("p", 1)))[0] is SettleGroupStatus.MORE:
        pass
    assert await counters(store) == PoolCounters(400, 400, 0, 0, 0)
    events = await log(valkey_shard)
    refunded = [len(event.seats) for event in events if isinstance(event, SeatsRefunded)]
    assert (sum(refunded), max(refunded)) == (290, 128)
    assert [event.paid for event in events if isinstance(event, GroupFailed)] == [290]


async def test_a_large_group_forms_in_one_step(valkey_shard):
    store = valkey_shard.store
    await sell_to_groups(store, total=300, size=300, deduct=FORM)
    for first in range(1, 301, 100):
        numbers = range(first, first + 100)
        await seated(store, *((n, f"b{n}", 1 if n > 1 else OPEN) for n in numbers))
    await pay(store, *range(1, 300))
    assert await counters(store) == PoolCounters(300, 300, 0, 0, 0)
    await pay(store, 300)
    assert await counters(store) == PoolCounters(300, 0, 0, 300, 0)
    assert set(await states(store, *range(1, 301))) == {CONFIRMED}


async def test_a_seat_is_remembered_as_long_as_its_group_and_then_forgotten(group_subject, store):
    await sell_to_groups(store, life_ms=LIFE_MS + RETENTION_MS, size=2)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", OPEN))
    await pay(store, 1, 3)
    for _ in range(3):
        # Its own deadline is long over, that of its group is not.
        await group_subject.set_clock(START_MS + HOLD_MS + RETENTION_MS)
        await store.expire("p", 8)
    assert await states(store, 1, 3) == [CONFIRMED] * 2
    await seated(store, (4, "d", 1))
    await pay(store, 4)
    await group_subject.set_clock(START_MS + 9 * RETENTION_MS)
    for _ in range(4):
        await store.expire("p", 8)
    assert await seat(store, 3) is not None
    await group_subject.set_clock(START_MS + 19 * RETENTION_MS)
    for _ in range(4):
        await store.expire("p", 8)
    state = await group_subject.state(["p"])
    assert (state.records, state.due) == ({}, {})
    if hasattr(group_subject, "client"):
        groups = await groups_on_server(group_subject.client, ["p"])
        assert groups.groups == {}
        of_buyers = {("", "a"): 1, ("", "d"): 1}
        assert (groups.pools["p"].members, groups.pools["p"].seats) == ([], of_buyers)


async def test_a_pool_that_is_gone_is_not_waited_for(valkey_shard):
    """SweepGroupsStatus.UNKNOWN_POOL: the index of what is due is mended."""
    await valkey_shard.client.zadd(keys.due(0), {"none": START_MS})
    with pytest.raises(UnknownPool):
        await valkey_shard.store.sweep_groups("none", 8)
    assert await valkey_shard.client.zcard(keys.due(0)) == 0


async def test_a_sweep_does_a_bounded_part_of_many_groups(valkey_shard):
    store = valkey_shard.store
    await sell_to_groups(store, total=400, life_ms=2 * HOLD_MS)
    await seated(store, *((n, f"b{n}", OPEN) for n in range(1, 41)))
    await pay(store, *range(1, 41))
    await valkey_shard.set_clock(START_MS + 2 * HOLD_MS)
    _, reply = await store._call_pool("sweep_groups", "p", [1])
    assert reply[0] == SweepGroupsStatus.OK
    assert reply[3] == 8, "a group and its seat count as two"
    rounds = 1
    while (await store.expire("p", 1))[1] <= START_MS + 2 * HOLD_MS:
        rounds += 1
    assert rounds == 4, "five in all"
    assert await counters(store) == PoolCounters(400, 400, 0, 0, 0)


@pytest.mark.parametrize("how", ["sweep", "ask"])
async def test_many_groups_whose_last_seats_expire_at_once_end_in_parts(valkey_shard, how):
    """No call ends more than a bounded number, and each group ends in one of them."""
    store = valkey_shard.store
    await sell_to_groups(store, total=800)
    for first in range(0, 700, 100):
        await seated(store, *((n, f"b{n}", OPEN) for n in range(first, first + 100)))
    await valkey_shard.set_clock(START_MS + HOLD_MS)
    for left in (100, 0):
        if how == "sweep":
            await store.expire("p", 64)
        else:
            await take(store, (999, "z", 999))
        assert (await counters(store)).held == left
    failed = [event for event in await log(valkey_shard) if isinstance(event, GroupFailed)]
    assert len({event.group for event in failed}) == len(failed) == 700
