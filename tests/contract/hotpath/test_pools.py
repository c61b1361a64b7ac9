"""Creating pools, changing their rules and their stock, and reading them."""

from __future__ import annotations

import pytest

from flashstock.errors import UnknownPool
from flashstock.hotpath.scripts import AdjustStatus, ConfigureStatus
from flashstock.model.events import Adjusted, Configured, encode_rules
from flashstock.model.rules import POOL_QUANTITY_MAX, PoolCounters, PoolRules, Wave
from flashstock.model.states import DeductMode, Durability, PoolState
from tests.reference.asking import create, hold, key
from tests.reference.subjects import START_MS

RULES = PoolRules(
    sku="a sku, with : signs",
    per_buyer_limit=2,
    hold_ms=1234,
    starts_at_ms=START_MS,
    ends_at_ms=START_MS + 1,
    durability=Durability.FAST,
    waves=(Wave(START_MS + 5, 3), Wave(START_MS + 9, 1)),
    audience="level:5",
    channels="app,web",
    deduct=DeductMode.ORDER,
)


async def test_a_pool_is_created_with_its_rules(subject, store):
    status, snapshot = await store.configure("p", encode_rules(RULES), created=(10, 4))
    assert status is ConfigureStatus.CONFIGURED
    assert snapshot.rules == RULES
    assert snapshot.counters == PoolCounters(10, 6, 0, 0, 4)
    assert await store.snapshot("p") == snapshot
    state = await subject.state(["p"])
    assert state.log == [(1, Configured("p", START_MS, RULES, True, 10, 4))]
    assert state.due == {"p": START_MS + 5}


async def test_a_pool_is_created_once(subject, store):
    await store.configure("p", encode_rules(RULES), created=(10, 4))
    before = await subject.state(["p"])
    other = encode_rules(PoolRules(sku="other"))
    status, snapshot = await store.configure("p", other, created=(99, 0))
    assert status is ConfigureStatus.EXISTS
    assert snapshot.rules == RULES
    assert await subject.state(["p"]) == before


async def test_rules_change_one_by_one(subject, store):
    await create(store, per_buyer_limit=2)
    status, snapshot = await store.configure("p", {"state": PoolState.PAUSED}, created=None)
    assert status is ConfigureStatus.CONFIGURED
    assert snapshot.rules.state is PoolState.PAUSED
    assert snapshot.rules.per_buyer_limit == 2
    number, event = (await subject.state(["p"])).log[-1]
    assert (number, event.created, event.rules) == (2, False, snapshot.rules)


async def test_the_event_says_why_where_someone_said(subject, store):
    await create(store)
    await store.configure("p", {"state": PoolState.PAUSED}, created=None, reason="it was broken")
    await store.configure("p", {"state": PoolState.OPEN}, created=None)
    (_, paused), (_, resumed) = (await subject.state(["p"])).log[-2:]
    assert (paused.reason, resumed.reason) == ("it was broken", "")
    assert paused.rules.state is PoolState.PAUSED


async def test_a_change_that_changes_nothing_is_not_recorded(subject, store):
    await create(store)
    before = await subject.state(["p"])
    status, _ = await store.configure("p", {"state": PoolState.OPEN}, created=None)
    assert status is ConfigureStatus.UNCHANGED
    assert await subject.state(["p"]) == before


async def test_a_closed_pool_stays_closed(store):
    await create(store)
    await store.configure("p", {"state": PoolState.CLOSED}, created=None)
    for state in (PoolState.OPEN, PoolState.CLOSED):
        status, snapshot = await store.configure("p", {"state": state}, created=None)
        assert status is ConfigureStatus.CLOSED
        assert snapshot.rules.state is PoolState.CLOSED


async def test_there_is_no_such_pool(store):
    with pytest.raises(UnknownPool):
        await store.configure("p", {"state": PoolState.PAUSED}, created=None)
    with pytest.raises(UnknownPool):
        await store.adjust("p", 1, 0, "command")
    with pytest.raises(UnknownPool):
        await store.snapshot("p")


async def test_units_come_and_go(subject, store):
    await create(store, total=10)
    await hold(store, "p", (1, "a", 4))
    for number, (total_delta, locked_delta, counters) in enumerate(
        [
            (5, 0, PoolCounters(15, 11, 4, 0, 0)),
            (0, 6, PoolCounters(15, 5, 4, 0, 6)),
            (-5, 0, PoolCounters(10, 0, 4, 0, 6)),
            (0, -6, PoolCounters(10, 6, 4, 0, 0)),
            (2, 8, PoolCounters(12, 0, 4, 0, 8)),
            (-8, -8, PoolCounters(4, 0, 4, 0, 0)),
        ]
    ):
        command = f"command {number}"
        status, _, seq, available = await store.adjust("p", total_delta, locked_delta, command)
        assert status is AdjustStatus.ADJUSTED
        assert (await store.snapshot("p")).counters == counters
        assert available == counters.available
        log = (await subject.state(["p"])).log
        assert log[-1] == (seq, Adjusted("p", START_MS, total_delta, locked_delta, command))


@pytest.mark.parametrize(("total_delta", "locked_delta"), [(-7, 0), (0, 7), (-3, 4), (6, -1)])
async def test_units_are_never_taken_from_buyers_or_from_nothing(
    subject, store, total_delta, locked_delta
):
    await create(store, total=10)
    await hold(store, "p", (1, "a", 4))
    before = await subject.state(["p"])
    status, _, _, available = await store.adjust("p", total_delta, locked_delta, "command")
    assert (status, available) == (AdjustStatus.INSUFFICIENT, 6)
    assert await subject.state(["p"]) == before


async def test_an_adjustment_is_one_command(subject, store):
    await create(store)
    await create(store, "q")
    await store.adjust("p", 5, 0, "command")
    before = await subject.state(["p", "q"])
    for pool, total_delta, locked_delta, expected in (
        ("p", 5, 0, AdjustStatus.REPLAYED),
        ("p", 6, 0, AdjustStatus.MISMATCH),
        ("p", 5, 1, AdjustStatus.MISMATCH),
        ("q", 5, 0, AdjustStatus.MISMATCH),
        ("p", -100, 0, AdjustStatus.MISMATCH),
    ):
        status, *_ = await store.adjust(pool, total_delta, locked_delta, "command")
        assert status is expected
    assert await subject.state(["p", "q"]) == before


async def test_a_pool_has_a_largest_size(store):
    await create(store, total=POOL_QUANTITY_MAX - 1)
    status, *_ = await store.adjust("p", 2, 0, "c1")
    assert status is AdjustStatus.TOO_LARGE
    status, *_ = await store.adjust("p", 1, 0, "c2")
    assert status is AdjustStatus.ADJUSTED
    assert (await store.snapshot("p")).counters.total == POOL_QUANTITY_MAX


async def test_a_look_up_answers_by_position(store):
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "b", 1))
    reply = await store.lookup(0, [key(2), key(9), key(1)])
    assert [record and record.buyer for record in reply.records] == ["b", None, "a"]
    assert (reply.seq, reply.now_ms) == (3, START_MS)


async def test_known_is_every_request_that_was_granted(store):
    await create(store, total=4)
    assert await store.known("p", 10) == (0, frozenset())
    await hold(store, "p", (1, "a", 1), (2, "b", 1))
    await hold(store, "p", (3, "c", 1))
    digests = frozenset(key(number).encode() for number in (1, 2, 3))
    assert await store.known("p", 3) == (3, digests)
    assert await store.known("p", 2) is None
