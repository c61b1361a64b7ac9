"""Taking back a hold whose key belongs to an older reservation."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import RetractStatus
from flashstock.model.events import Repaired
from flashstock.model.rules import PoolCounters
from flashstock.model.states import ReservationState
from tests.reference.asking import create, hold, key, target
from tests.reference.subjects import START_MS

OLDER = "e1600000000000\t1\t1\t2\tp\ta\t"


async def granted(shard):
    """A batch of two holds, and the number of the second one's event."""
    await create(shard.store)
    await hold(shard.store, "p", (1, "b", 1), (2, "a", 2))
    return (await shard.state(["p"])).seq


async def retract(shard, seq, generation=1, number=2):
    return await shard.store.retract(target("p", number), generation, seq, OLDER)


async def test_its_units_come_back_and_the_older_reservation_stands_again(shard):
    seq = await granted(shard)
    assert await retract(shard, seq) is RetractStatus.RETRACTED
    state = await shard.state(["p"])
    assert state.records[key(2)].pack() == OLDER
    assert state.pools["p"].counters == PoolCounters(10, 9, 1, 0, 0)
    assert state.pools["p"].buyers == {"b": 1}
    assert state.log[-1] == (seq + 1, Repaired("p", START_MS, "reused key"))


async def test_it_is_done_once(shard):
    seq = await granted(shard)
    await retract(shard, seq)
    before = await shard.state(["p"])
    assert await retract(shard, seq) is RetractStatus.GONE
    assert await shard.state(["p"]) == before


@pytest.mark.parametrize("wrong", [{"seq": 1}, {"seq": 500}, {"generation": 2}, {"number": 3}])
async def test_another_hold_is_left_alone(shard, wrong):
    seq = await granted(shard)
    before = await shard.state(["p"])
    assert await retract(shard, **{"seq": seq, **wrong}) is RetractStatus.GONE
    assert await shard.state(["p"]) == before


async def test_one_that_has_ended_gives_nothing_back_twice(shard):
    seq = await granted(shard)
    await shard.store.cancel(target("p", 2), "cancelled")
    assert await retract(shard, seq) is RetractStatus.RETRACTED
    state = await shard.state(["p"])
    assert state.records[key(2)].state is ReservationState.EXPIRED
    assert state.pools["p"].counters == PoolCounters(10, 9, 1, 0, 0)


async def test_one_that_was_paid_for_is_left_to_people(shard):
    seq = await granted(shard)
    await shard.store.confirm(target("p", 2), "pay")
    before = await shard.state(["p"])
    assert await retract(shard, seq) is RetractStatus.SOLD
    assert await shard.state(["p"]) == before
