"""The sweep: what time alone decides, in bounded steps."""

from __future__ import annotations

import pytest

from flashstock.errors import UnknownPool
from flashstock.model.rules import PoolCounters, Wave
from flashstock.model.states import ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, reserve, target
from tests.reference.subjects import RETENTION_MS, START_MS

DEADLINE_MS = START_MS + HOLD_MS


async def states(store, *numbers):
    reply = await store.lookup(0, [key(number) for number in numbers])
    return [record and record.state for record in reply.records]


async def test_a_hold_ends_at_its_deadline_and_not_before(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    await subject.set_clock(DEADLINE_MS - 1)
    assert await store.expire("p", 8) == (0, DEADLINE_MS)
    assert await states(store, 1) == [ReservationState.HELD]
    await subject.set_clock(DEADLINE_MS)
    assert await store.expire("p", 8) == (2, DEADLINE_MS + RETENTION_MS)
    assert await states(store, 1) == [ReservationState.EXPIRED]
    assert (await store.snapshot("p")).counters == PoolCounters(10, 10, 0, 0, 0)


async def test_only_holds_end(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "a", 1), (3, "a", 1))
    await store.confirm(target("p", 1), "pay")
    await store.cancel(target("p", 2), "cancelled")
    await subject.set_clock(DEADLINE_MS)
    assert (await store.expire("p", 8))[0] == 1
    assert await states(store, 1, 2, 3) == [
        ReservationState.CONFIRMED,
        ReservationState.CANCELLED,
        ReservationState.EXPIRED,
    ]
    assert (await store.snapshot("p")).counters == PoolCounters(10, 9, 0, 1, 0)


async def test_a_sweep_is_bounded_and_says_that_there_is_more(subject, store):
    await create(store)
    for number in range(5):
        await hold(store, "p", (number, "a", 1))
    await subject.set_clock(DEADLINE_MS)
    assert await store.expire("p", 2) == (2, DEADLINE_MS)
    assert await store.expire("p", 2) == (2, DEADLINE_MS)
    assert await store.expire("p", 2) == (1, DEADLINE_MS + RETENTION_MS)


async def test_waves_are_released_without_any_buyer(subject, store):
    waves = (Wave(START_MS + 10, 2), Wave(START_MS + 20, 3))
    await create(store, total=6, locked=5, waves=waves)
    assert (await subject.state(["p"])).due == {"p": START_MS + 10}
    await subject.set_clock(START_MS + 10)
    assert await store.expire("p", 8) == (0, START_MS + 20)
    assert (await store.snapshot("p")).counters == PoolCounters(6, 3, 0, 0, 3)
    await subject.set_clock(START_MS + 30)
    assert await store.expire("p", 8) == (0, 0)
    assert (await store.snapshot("p")).counters == PoolCounters(6, 6, 0, 0, 0)


async def test_a_pool_with_nothing_to_come_is_not_looked_at_again(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    assert (await subject.state(["p"])).due == {"p": DEADLINE_MS}
    await subject.set_clock(DEADLINE_MS)
    await store.expire("p", 8)
    assert (await subject.state(["p"])).due == {"p": DEADLINE_MS + RETENTION_MS}
    await subject.set_clock(DEADLINE_MS + RETENTION_MS)
    assert await store.expire("p", 8) == (0, 0)
    assert (await subject.state(["p"])).due == {}


async def test_the_next_moment_is_the_earliest_of_all(subject, store):
    await create(store, hold_ms=5000)
    await hold(store, "p", (1, "a", 1))
    await subject.set_clock(START_MS + 1000)
    await hold(store, "p", (2, "a", 1))
    assert (await subject.state(["p"])).due == {"p": START_MS + 5000}
    await subject.set_clock(START_MS + 5000)
    assert await store.expire("p", 8) == (1, START_MS + 6000)


async def test_records_are_kept_for_the_retention_and_then_forgotten(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "a", 1))
    await store.confirm(target("p", 1), "pay")
    await subject.set_clock(DEADLINE_MS)
    await store.expire("p", 8)
    await subject.set_clock(DEADLINE_MS + RETENTION_MS - 1)
    await store.expire("p", 8)
    assert (await reserve(store, "p", (1, "a", 1), (2, "a", 1))).verdicts == b"11"
    await subject.set_clock(DEADLINE_MS + RETENTION_MS)
    await store.expire("p", 8)
    assert await states(store, 1, 2) == [None, None]
    assert (await store.snapshot("p")).counters == PoolCounters(10, 9, 0, 1, 0)


@pytest.mark.parametrize("ending", ["held", "confirmed"])
async def test_an_extended_hold_is_remembered_from_its_own_deadline(subject, store, ending):
    """The batch it was granted in is forgotten before."""
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "a", 1))
    later_ms = DEADLINE_MS + RETENTION_MS + 1000
    await store.extend(target("p", 1), later_ms - START_MS)
    await subject.set_clock(DEADLINE_MS)
    assert await store.expire("p", 8) == (1, DEADLINE_MS + RETENTION_MS)
    if ending == "confirmed":
        await store.confirm(target("p", 1), "pay")
    await subject.set_clock(DEADLINE_MS + RETENTION_MS)
    assert await store.expire("p", 8) == (0, later_ms)
    assert await states(store, 1, 2) == [ReservationState(ending), None]
    await subject.set_clock(later_ms)
    assert (await store.expire("p", 8))[1] == later_ms + RETENTION_MS
    await subject.set_clock(later_ms + RETENTION_MS)
    assert await store.expire("p", 8) == (0, 0)
    assert await states(store, 1) == [None]


async def test_sweeping_a_pool_that_does_not_exist(store):
    with pytest.raises(UnknownPool):
        await store.expire("nowhere", 8)
