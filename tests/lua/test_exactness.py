"""Large numbers to the last digit, a clock that never goes back, and work that is bounded."""

from __future__ import annotations

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.model.events import Confirmed, Held, decode
from flashstock.model.rules import POOL_QUANTITY_MAX, QUANTITY_MAX, PoolCounters
from tests.reference.asking import HOLD_MS, create, hold, key, reserve, target
from tests.reference.subjects import START_MS

LARGE_SEQ = 2**52 + 1


async def test_numbers_near_2_to_the_53_are_exact(shard):
    store = shard.store
    await shard.client.hset(keys.shard_meta(0), "seq", str(LARGE_SEQ))
    await shard.client.hset(keys.shard_meta(0), "orders", str(LARGE_SEQ))
    await create(store)
    reply = await reserve(store, "p", (1, "a", 1), (2, "b", 1), (3, "c", 1))
    assert (reply.first_seq, reply.seq) == (LARGE_SEQ + 2, LARGE_SEQ + 4)
    assert (await store.lookup(0, [key(2)])).records[0].seq == LARGE_SEQ + 2
    await store.cancel(target("p", 3), "cancelled")
    entries = await ShardLog(shard.client, 0).read(LOG_START, entries_max=10)
    assert [entry.seq for entry in entries] == [LARGE_SEQ + n for n in (1, 2, 5)]
    assert await ShardLog(shard.client, 0).seq() == LARGE_SEQ + 5


async def test_an_order_index_of_fourteen_digits_is_exact(shard):
    await shard.client.hset(keys.shard_meta(0), "orders", "98765432109876")
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    reply = await shard.store.confirm(target("p", 1), "pay")
    assert reply.record.order_index == 98765432109877
    event = (await shard.log())[-1][1]
    assert isinstance(event, Confirmed)
    assert event.order_index == 98765432109877


async def test_times_are_exact_to_the_millisecond_in_records_log_and_indexes(shard):
    now_ms = 9_123_456_789_013
    await shard.set_clock(now_ms)
    await create(shard.store, hold_ms=604_799_999)
    await hold(shard.store, "p", (1, "a", 1))
    deadline_ms = now_ms + 604_799_999
    state = await shard.state(["p"])
    assert state.records[key(1)].deadline_ms == deadline_ms
    assert state.pools["p"].deadlines == {key(1): deadline_ms}
    assert state.due == {"p": deadline_ms}
    event = state.log[-1][1]
    assert isinstance(event, Held)
    assert (event.at_ms, event.deadline_ms) == (now_ms, deadline_ms)
    assert await shard.client.hget(keys.shard_meta(0), "clock_ms") == str(now_ms).encode()


async def test_the_largest_quantities_are_exact(shard):
    await create(shard.store, total=POOL_QUANTITY_MAX)
    await hold(shard.store, "p", (1, "a", QUANTITY_MAX), (2, "a", QUANTITY_MAX - 1))
    left = POOL_QUANTITY_MAX - 2 * QUANTITY_MAX + 1
    counters = PoolCounters(POOL_QUANTITY_MAX, left, 2 * QUANTITY_MAX - 1, 0, 0)
    state = await shard.state(["p"])
    assert state.pools["p"].counters == counters
    assert state.pools["p"].buyers == {"a": 2 * QUANTITY_MAX - 1}


async def test_time_is_never_earlier_than_a_decision_before(shard):
    """A promoted replica's clock may be behind; the data set carries the last time along."""
    await shard.set_clock(0)
    await create(shard.store)
    reply = await hold(shard.store, "p", (1, "a", 1))
    seconds, microseconds = await shard.client.time()
    assert reply.now_ms <= seconds * 1000 + microseconds // 1000
    ahead_ms = reply.now_ms + 3_600_000
    await shard.set_clock(ahead_ms)
    assert (await hold(shard.store, "p", (2, "a", 1))).now_ms == ahead_ms
    stored = await shard.client.hget(keys.shard_meta(0), "clock_ms")
    assert int(stored) == ahead_ms
    assert (await shard.store.snapshot("p")).now_ms == ahead_ms


async def calls_of(shard, work):
    """How many commands the server executed for one script call, by name."""
    await shard.client.config_resetstat()
    await work()
    stats = await shard.client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): entry["calls"]
        for name, entry in stats.items()
        if "config" not in name and "evalsha" not in name and "info" not in name
    }


async def test_a_sweep_costs_the_same_whatever_else_there_is(shard):
    async def scene(first, others):
        for number in range(others):
            await create(shard.store, f"idle{first}-{number}")
        pool = f"p{first}"
        await create(shard.store, pool, total=100)
        for number in range(12):
            await hold(shard.store, pool, (first + number, "a", 1))
        await shard.set_clock(START_MS + first * HOLD_MS)
        return await calls_of(shard, lambda: shard.store.expire(pool, 4))

    alone = await scene(1, 0)
    in_company = await scene(100, 200)
    assert alone == in_company
    assert alone["zrem"] == 4


@pytest.mark.parametrize("size", [2, 128])
async def test_a_batch_costs_as_many_commands_as_a_single_request(shard, size):
    """What can be paid once for a batch is: that is where the throughput comes from."""
    await create(shard.store, total=1000, per_buyer_limit=2)

    async def ask(first, count):
        requests = [(number, f"buyer{number}", 1) for number in range(first, first + count)]
        return await calls_of(shard, lambda: hold(shard.store, "p", *requests))

    assert await ask(1000, size) == await ask(0, 1)


async def test_every_entry_of_the_log_can_be_read(shard):
    """Ids and names of every printable kind come back as they were."""
    pool, buyer, payment = "A.b_c-9" * 9, 'ünïcode "quotes" \\ %s {x} ::', "pay:±/'"
    await create(shard.store, pool, sku=buyer)
    await hold(shard.store, pool, (1, buyer, 1))
    await shard.store.confirm(target(pool, 1), payment)
    events = [decode(entry) for entry in await ShardLog(shard.client, 0).read("0", entries_max=9)]
    assert [type(event).__name__ for event in events] == ["Configured", "Held", "Confirmed"]
    assert isinstance(events[2], Confirmed)
    assert (events[2].buyer, events[2].payment_ref) == (buyer, payment)
    record = (await shard.store.lookup(0, [key(1)])).records[0]
    assert (record.buyer, record.payment_ref, record.pool) == (buyer, payment, pool)
