"""Taking back a seat whose key belongs to an older reservation: its place in the group, too."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import RetractStatus, Verdict
from flashstock.model.events import GroupFailed, OpenerPassed, Repaired
from flashstock.model.group_rules import GroupDeduct
from flashstock.model.records import unpack_record
from flashstock.model.rules import PoolCounters
from flashstock.model.states import FailReason, GroupState
from tests.reference.asking import key, target
from tests.reference.group_asking import OPEN, group, seated, sell_to_groups, verdicts
from tests.reference.group_subjects import groups_on_server
from tests.reference.subjects import START_MS

PLAIN = "e1600000000000\t1\t1\t2\tp\told\t"
REPAIRED = Repaired("p", START_MS, "reused key")


async def retract(shard, number, older=PLAIN):
    """The seat of that key, whose event SQL refused."""
    [packed] = (await shard.store.lookup(0, [key(number)])).records
    return await shard.store.retract(target("p", number), 1, packed.seq, older)


async def log(shard):
    return [event for _, event in (await shard.state(["p"])).log]


@pytest.mark.parametrize("deduct", GroupDeduct)
async def test_a_joiners_place_is_free_again(shard, deduct):
    await sell_to_groups(shard.store, size=2, deduct=deduct)
    await seated(shard.store, (1, "a", OPEN), (2, "b", 1))
    assert await verdicts(shard.store, (3, "c", 1)) == [Verdict.GROUP_FULL]
    assert await retract(shard, 2) is RetractStatus.RETRACTED
    assert (await log(shard))[-1] == REPAIRED
    found = await group(shard.store, 1)
    assert (found.record.pending, found.record.opener) == (1, key(1))
    assert [digest for digest, _ in found.seats] == [key(1)]
    state = await shard.state(["p"])
    assert state.records[key(2)] == unpack_record(PLAIN)
    held = deduct is GroupDeduct.PAY
    assert state.pools["p"].counters == PoolCounters(10, 9 if held else 10, int(held), 0, 0)
    seats = (await groups_on_server(shard.client, ["p"])).pools["p"].seats
    assert seats == {(key(1), "a"): 1, ("", "a"): 1}
    assert await verdicts(shard.store, (3, "c", 1)) == [Verdict.HELD]


async def test_whoever_is_left_opens_the_group(shard):
    await sell_to_groups(shard.store)
    await seated(shard.store, (1, "a", OPEN), (2, "b", 1))
    assert await retract(shard, 1) is RetractStatus.RETRACTED
    assert (await log(shard))[-2:] == [OpenerPassed("p", START_MS, key(1), key(2)), REPAIRED]


async def test_a_group_without_anybody_fails(shard):
    """SQL has the group: it refused the seat alone."""
    await sell_to_groups(shard.store)
    await seated(shard.store, (1, "a", OPEN))
    assert await retract(shard, 1) is RetractStatus.RETRACTED
    failed = GroupFailed("p", START_MS, key(1), FailReason.ABANDONED, 0)
    assert (await log(shard))[-2:] == [failed, REPAIRED]
    assert (await groups_on_server(shard.client, ["p"])).pools["p"].open_count == 0


async def test_a_group_that_sql_knew_under_that_name_ends_in_silence(shard):
    """SQL refused the group as well, so nothing is told of it."""
    await sell_to_groups(shard.store)
    await seated(shard.store, (1, "a", OPEN))
    before = await log(shard)
    older = f"e1600000000000\t1\t1\t1\tp\told\tg:{key(1)}"
    assert await retract(shard, 1, older) is RetractStatus.RETRACTED
    assert await log(shard) == [*before, REPAIRED]
    assert (await group(shard.store, 1)).record.state is GroupState.FAILED
    groups = (await groups_on_server(shard.client, ["p"])).pools["p"]
    assert (groups.open_count, groups.open, groups.members) == (0, {}, [])


@pytest.mark.parametrize("deduct", GroupDeduct)
async def test_a_seat_that_was_paid_for_is_left_to_people(shard, deduct):
    await sell_to_groups(shard.store, deduct=deduct)
    await seated(shard.store, (1, "a", OPEN), (2, "b", 1))
    await shard.store.confirm(target("p", 2), "pay")
    before = await shard.state(["p"])
    assert await retract(shard, 2) is RetractStatus.SOLD
    assert await shard.state(["p"]) == before


async def test_a_seat_that_has_ended_gives_nothing_back_twice(shard):
    await sell_to_groups(shard.store)
    await seated(shard.store, (1, "a", OPEN), (2, "b", 1))
    await shard.store.cancel(target("p", 2), "cancelled")
    assert await retract(shard, 2) is RetractStatus.RETRACTED
    assert (await shard.state(["p"])).pools["p"].counters == PoolCounters(10, 9, 1, 0, 0)
    assert (await group(shard.store, 1)).record.pending == 1
