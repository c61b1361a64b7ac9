"""How a hold ends unpaid, is extended, or comes back after it was sold."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import CancelStatus, ExtendStatus, ReturnSaleStatus
from flashstock.model.events import Extended, Release, Released, Returned
from flashstock.model.rules import PoolCounters
from flashstock.model.states import ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, target
from tests.reference.subjects import START_MS


async def sold(store, quantity=3):
    await create(store)
    await hold(store, "p", (1, "a", quantity))
    await store.confirm(target("p", 1), "pay")


@pytest.mark.parametrize("kind", ["cancelled", "revoked"])
async def test_cancelling_gives_back_once(subject, store, kind):
    await create(store)
    await hold(store, "p", (1, "a", 3))
    reply = await store.cancel(target("p", 1), kind)
    assert reply.status == CancelStatus.CANCELLED
    assert reply.record.state == kind
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(10, 10, 0, 0, 0)
    assert state.pools["p"].buyers == {}
    ended = Released("p", START_MS, ReservationState(kind), (Release(key(1), 3),))
    assert state.log[-1] == (3, ended)
    assert (await store.cancel(target("p", 1), "cancelled")).status == CancelStatus.REPLAYED
    assert await subject.state(["p"]) == state


async def test_what_cannot_be_cancelled(subject, store):
    await create(store)
    assert (await store.cancel(target("p", 1), "cancelled")).status == CancelStatus.UNKNOWN
    await hold(store, "p", (1, "a", 1), (2, "a", 1))
    await store.confirm(target("p", 1), "pay")
    await subject.set_clock(START_MS + HOLD_MS)
    await store.expire("p", 8)
    for number, status in ((1, CancelStatus.ALREADY_CONFIRMED), (2, CancelStatus.EXPIRED)):
        assert (await store.cancel(target("p", number), "cancelled")).status == status
    assert (await store.snapshot("p")).counters == PoolCounters(10, 9, 0, 1, 0)


async def test_extending_moves_the_deadline_forward_only(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    reply = await store.extend(target("p", 1), HOLD_MS)
    assert reply.status == ExtendStatus.UNCHANGED
    reply = await store.extend(target("p", 1), HOLD_MS + 1)
    assert reply.status == ExtendStatus.EXTENDED
    assert reply.record.deadline_ms == START_MS + HOLD_MS + 1
    log = (await subject.state(["p"])).log
    assert log[-1] == (3, Extended("p", START_MS, key(1), START_MS + HOLD_MS + 1))
    reply = await store.extend(target("p", 1), 1)
    assert reply.status == ExtendStatus.UNCHANGED
    assert reply.record.deadline_ms == START_MS + HOLD_MS + 1


@pytest.mark.parametrize("swept", [True, False])
async def test_extending_ends_with_the_deadline(subject, store, swept):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    await subject.set_clock(START_MS + HOLD_MS)
    if swept:
        await store.expire("p", 8)
    assert (await store.extend(target("p", 1), HOLD_MS)).status == ExtendStatus.EXPIRED


async def test_what_cannot_be_extended(store):
    await create(store)
    assert (await store.extend(target("p", 1), 1)).status == ExtendStatus.UNKNOWN
    await hold(store, "p", (1, "a", 1), (2, "a", 1), (3, "a", 1))
    await store.confirm(target("p", 1), "pay")
    await store.cancel(target("p", 2), "cancelled")
    await store.cancel(target("p", 3), "revoked")
    for number, status in (
        (1, ExtendStatus.ALREADY_CONFIRMED),
        (2, ExtendStatus.ALREADY_CANCELLED),
        (3, ExtendStatus.ALREADY_CANCELLED),
    ):
        assert (await store.extend(target("p", number), 2 * HOLD_MS)).status == status


async def test_a_sale_comes_back_in_parts(subject, store):
    await sold(store)
    reply = await store.return_sale(target("p", 1), 1, "first")
    assert reply.status == ReturnSaleStatus.RETURNED
    assert (reply.record.state, reply.record.returned) == (ReservationState.CONFIRMED, 1)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 8, 0, 2, 0)
    reply = await store.return_sale(target("p", 1), 0, "second")
    assert (reply.record.state, reply.record.returned) == (ReservationState.RETURNED, 3)
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(10, 10, 0, 0, 0)
    assert state.pools["p"].buyers == {}
    assert [event for _, event in state.log[-2:]] == [
        Returned("p", START_MS, key(1), 1, 1, False, "first", 1),
        Returned("p", START_MS, key(1), 2, 3, True, "second", 0),
    ]


async def test_units_that_are_not_restocked_leave_the_pool(subject, store):
    await sold(store)
    reply = await store.return_sale(target("p", 1), 1, "first", restock=False)
    assert reply.status == ReturnSaleStatus.RETURNED
    assert (reply.record.state, reply.record.returned) == (ReservationState.CONFIRMED, 1)
    assert (await store.snapshot("p")).counters == PoolCounters(9, 7, 0, 2, 0)
    await store.return_sale(target("p", 1), 0, "second", restock=False)
    state = await subject.state(["p"])
    assert state.pools["p"].counters == PoolCounters(7, 7, 0, 0, 0)
    assert state.pools["p"].buyers == {}
    assert [event for _, event in state.log[-2:]] == [
        Returned("p", START_MS, key(1), 1, 1, False, "first", 1, restock=False),
        Returned("p", START_MS, key(1), 2, 3, True, "second", 0, restock=False),
    ]


async def test_a_return_out_of_the_pool_is_another_command_than_one_into_it(store):
    await sold(store)
    await store.return_sale(target("p", 1), 1, "out", restock=False)
    await store.return_sale(target("p", 1), 1, "in")
    for command, restock in (("out", True), ("in", False)):
        reply = await store.return_sale(target("p", 1), 1, command, restock=restock)
        assert reply.status == ReturnSaleStatus.MISMATCH
        reply = await store.return_sale(target("p", 1), 1, command, restock=not restock)
        assert reply.status == ReturnSaleStatus.REPLAYED


async def test_a_return_is_one_command(subject, store):
    await sold(store)
    await store.return_sale(target("p", 1), 1, "command")
    state = await subject.state(["p"])
    reply = await store.return_sale(target("p", 1), 1, "command")
    assert reply.status == ReturnSaleStatus.REPLAYED
    reply = await store.return_sale(target("p", 1), 2, "command")
    assert reply.status == ReturnSaleStatus.MISMATCH
    assert await subject.state(["p"]) == state


async def test_a_command_of_another_kind_is_not_this_one(store):
    await sold(store)
    await store.adjust("p", 1, 0, "command")
    reply = await store.return_sale(target("p", 1), 1, "command")
    assert reply.status == ReturnSaleStatus.MISMATCH


async def test_what_cannot_be_returned(store):
    await sold(store)
    await hold(store, "p", (2, "a", 1))
    reply = await store.return_sale(target("p", 9), 1, "c1")
    assert (reply.status, reply.record) == (ReturnSaleStatus.UNKNOWN, None)
    reply = await store.return_sale(target("p", 2), 1, "c2")
    assert reply.status == ReturnSaleStatus.NOT_CONFIRMED
    reply = await store.return_sale(target("p", 1), 4, "c3")
    assert reply.status == ReturnSaleStatus.TOO_MANY
    await store.return_sale(target("p", 1), 3, "c4")
    reply = await store.return_sale(target("p", 1), 1, "c5")
    assert reply.status == ReturnSaleStatus.ALREADY_RETURNED
    assert (await store.snapshot("p")).counters == PoolCounters(10, 9, 1, 0, 0)


async def test_a_command_that_was_refused_may_be_tried_again(store):
    await sold(store)
    await store.return_sale(target("p", 1), 4, "command")
    reply = await store.return_sale(target("p", 1), 3, "command")
    assert reply.status == ReturnSaleStatus.RETURNED
