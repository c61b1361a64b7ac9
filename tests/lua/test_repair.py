"""Bringing Redis back to what SQL says, and payment references across shards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.errors import UnknownPool
from flashstock.hotpath import keys
from flashstock.hotpath.scripts import ClaimPaymentStatus, ConfirmStatus, RepairStatus, build_keys
from flashstock.model.events import Repaired
from flashstock.model.ids import digest_of
from flashstock.model.rules import PoolCounters
from flashstock.model.states import ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, target
from tests.reference.invariants import check
from tests.reference.subjects import RETENTION_MS, START_MS


async def damaged(shard):
    """A pool of which one hold was altered, one lost, one invented, and the counters follow."""
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 2), (2, "b", 1))
    await hold(shard.store, "p", (3, "c", 3))
    right = await shard.state(["p"])
    record = right.records[key(1)]
    damage = {
        key(1): replace(record, state=ReservationState.CANCELLED).pack(),
        key(9): replace(record, buyer="nobody").pack(),
    }
    await shard.client.hset(keys.reservations(0), mapping=damage)
    await shard.client.hdel(keys.reservations(0), key(3))
    await shard.client.hset(keys.pool(0, "p"), mapping={"available": 7, "held": 1})
    await shard.client.hset(keys.buyers(0, "p"), mapping={"a": 0, "nobody": 2})
    return right


def arguments(right):
    records = [key(1), right.records[key(1)].pack(), key(3), right.records[key(3)].pack()]
    forget = [key(9), ""]
    buyers = ["a", 2, "nobody", 0]
    return ["a reason", 10, 4, 6, 0, 0, 3, *records, *forget, *buyers]


async def test_a_repair_brings_back_what_it_is_told(shard):
    right = await damaged(shard)
    status, seq = await shard.store.repair("p", right.seq, arguments(right))
    assert (status, seq) == (RepairStatus.REPAIRED, right.seq + 1)
    state = await shard.state(["p"])
    assert state.records == right.records
    assert state.pools["p"].counters == PoolCounters(10, 4, 6, 0, 0)
    assert state.pools["p"].buyers == right.pools["p"].buyers
    assert state.log[-1] == (seq, Repaired("p", START_MS, "a reason"))
    check(state, {})


async def test_a_hold_that_was_brought_back_still_ends(shard):
    right = await damaged(shard)
    await shard.client.delete(keys.deadlines(0, "p"), keys.due(0))
    await shard.store.repair("p", right.seq, arguments(right))
    assert (await shard.state(["p"])).due == {"p": START_MS + HOLD_MS}
    await shard.set_clock(START_MS + HOLD_MS)
    assert (await shard.store.expire("p", 8))[0] == 5


async def test_a_repair_of_an_older_position_writes_nothing(shard):
    right = await damaged(shard)
    before = await shard.state(["p"])
    status, seq = await shard.store.repair("p", right.seq - 1, arguments(right))
    assert (status, seq) == (RepairStatus.MOVED_ON, right.seq)
    assert await shard.state(["p"]) == before


async def test_a_pool_that_does_not_exist_is_not_repaired(shard):
    with pytest.raises(UnknownPool):
        await shard.store.repair("nowhere", 0, ["a reason", 0, 0, 0, 0, 0, 0])


async def claim_status(shard, reservation, release=0):
    digest = digest_of("payment", "pay")
    key_list = build_keys("claim_payment", 0, digest=digest)
    sha = shard.scripts.shas["claim_payment"]
    reply = await shard.client.evalsha(sha, 2, *key_list, str(reservation), release, 0)
    return reply[0]


async def test_a_payment_is_claimed_by_one_reservation(shard):
    first, second = target("p", 1), target("p", 2)
    assert await claim_status(shard, first) == ClaimPaymentStatus.CLAIMED
    assert await claim_status(shard, first) == ClaimPaymentStatus.CLAIMED
    assert await claim_status(shard, second) == ClaimPaymentStatus.TAKEN
    assert await claim_status(shard, second, release=1) == ClaimPaymentStatus.TAKEN
    assert await claim_status(shard, first, release=1) == ClaimPaymentStatus.CLAIMED
    assert await claim_status(shard, second) == ClaimPaymentStatus.CLAIMED


async def test_the_store_says_whether_the_claim_was_won(shard):
    assert await shard.store.claim_payment("pay", target("p", 1))
    assert not await shard.store.claim_payment("pay", target("p", 2))
    await shard.store.claim_payment("pay", target("p", 1), release=True)
    assert await shard.store.claim_payment("pay", target("p", 2))


async def test_what_is_remembered_about_commands_and_payments_ends_with_the_retention(shard):
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    await shard.store.confirm(target("p", 1), "pay")
    await shard.store.adjust("p", 1, 0, "adjustment")
    await shard.store.return_sale(target("p", 1), 1, "return")
    await shard.store.claim_payment("elsewhere", target("p", 1))
    for name in (
        keys.payment(0, digest_of("payment", "pay")),
        keys.payment(0, digest_of("payment", "elsewhere")),
        keys.command(0, "adjustment"),
        keys.command(0, "return"),
    ):
        assert 0 < await shard.client.pttl(name) <= RETENTION_MS, name


async def test_a_reference_is_read_under_the_digest_it_is_written_under(shard):
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    await shard.store.confirm(target("p", 1), "pay")
    owner = await shard.client.get(keys.payment(0, digest_of("payment", "pay")))
    assert owner == str(target("p", 1)).encode()
    again = await shard.store.confirm(target("p", 1), "pay")
    assert again.status == ConfirmStatus.REPLAYED
