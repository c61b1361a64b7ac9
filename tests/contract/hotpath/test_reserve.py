"""Reserving: who gets units, who does not, and what a repetition is answered."""

from __future__ import annotations

import pytest

from flashstock.errors import UnknownPool
from flashstock.hotpath.scripts import ConfigureStatus, Verdict
from flashstock.model.events import Held, Hold
from flashstock.model.ids import shard_of
from flashstock.model.records import unpack_record
from flashstock.model.rules import PoolCounters, Wave
from flashstock.model.states import Durability, PoolState, ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, reserve, target, verdicts
from tests.reference.subjects import START_MS


async def test_a_batch_is_decided_in_order(subject, store):
    await create(store, total=5)
    given = await verdicts(store, "p", (1, "a", 2), (2, "b", 4), (3, "c", 2), (4, "d", 1))
    assert given == [Verdict.HELD, Verdict.SOLD_OUT, Verdict.HELD, Verdict.HELD]
    assert (await store.snapshot("p")).counters == PoolCounters(5, 0, 5, 0, 0)
    held = Held(
        "p",
        START_MS,
        START_MS + HOLD_MS,
        (Hold(key(1), "a", 2, ""), Hold(key(3), "c", 2, ""), Hold(key(4), "d", 1, "")),
    )
    assert (await subject.state(["p"])).log[-1] == (2, held)


async def test_the_answer_tells_what_a_page_needs(store):
    await create(
        store, total=9, per_buyer_limit=3, starts_at_ms=START_MS, durability=Durability.FAST
    )
    reply = await reserve(store, "p", (1, "a", 2), (2, "a", 2))
    assert (reply.available, reply.grants, reply.per_buyer_limit) == (7, 1, 3)
    assert (reply.now_ms, reply.starts_at_ms) == (START_MS, START_MS)
    assert (reply.first_seq, reply.seq, reply.deadline_ms) == (2, 2, START_MS + HOLD_MS)
    assert reply.fast


async def test_a_repetition_is_answered_with_the_first_hold(store):
    await create(store)
    first = await hold(store, "p", (1, "a", 2))
    again = await reserve(store, "p", (1, "a", 2), (2, "b", 1), (1, "a", 2))
    assert again.verdicts == b"101"
    records = [unpack_record(packed.decode()) for packed in again.replays]
    assert records[0] == records[1]
    assert (records[0].seq, records[0].deadline_ms) == (first.first_seq, first.deadline_ms)
    assert (await store.snapshot("p")).counters.held == 3


async def test_a_repetition_within_one_batch_is_one_hold(store):
    await create(store)
    reply = await reserve(store, "p", (1, "a", 2), (1, "a", 2), (1, "a", 3))
    assert reply.verdicts == b"012"
    assert unpack_record(reply.replays[0].decode()).quantity == 2
    assert (await store.snapshot("p")).counters.held == 2


@pytest.mark.parametrize("request_", [(1, "a", 3), (1, "b", 2)], ids=["quantity", "buyer"])
async def test_a_key_used_for_something_else_is_refused(store, request_):
    await create(store)
    await hold(store, "p", (1, "a", 2))
    assert await verdicts(store, "p", request_) == [Verdict.MISMATCH]
    assert (await store.snapshot("p")).counters.held == 2


async def test_a_key_used_for_another_pool_is_refused(store):
    await create(store, "p")
    await create(store, "q")
    assert shard_of("p", 1) == shard_of("q", 1)
    await hold(store, "p", (1, "a", 2))
    assert await verdicts(store, "q", (1, "a", 2)) == [Verdict.MISMATCH]
    assert (await store.snapshot("q")).counters.held == 0
    assert (await store.lookup(0, [key(1)])).records[0].pool == "p"


async def test_a_repetition_finds_the_hold_as_it_ended(store):
    await create(store)
    await hold(store, "p", (1, "a", 1), (2, "a", 1), (3, "a", 1))
    await store.confirm(target("p", 1), "pay")
    await store.cancel(target("p", 2), "cancelled")
    again = await reserve(store, "p", (1, "a", 1), (2, "a", 1), (3, "a", 1))
    assert again.verdicts == b"111"
    states = [unpack_record(packed.decode()).state for packed in again.replays]
    assert states == [
        ReservationState.CONFIRMED,
        ReservationState.CANCELLED,
        ReservationState.HELD,
    ]


async def test_a_refusal_changes_nothing(subject, store):
    await create(store, total=1)
    await hold(store, "p", (1, "a", 1))
    before = await subject.state(["p"])
    assert await verdicts(store, "p", (2, "b", 1), (3, "c", 1)) == [Verdict.SOLD_OUT] * 2
    assert await subject.state(["p"]) == before


async def test_a_limit_counts_the_whole_batch_and_all_calls(store):
    await create(store, per_buyer_limit=3)
    given = await verdicts(store, "p", (1, "a", 2), (2, "a", 2), (3, "a", 1), (4, "b", 3))
    assert given == [Verdict.HELD, Verdict.BUYER_LIMIT, Verdict.HELD, Verdict.HELD]
    assert await verdicts(store, "p", (5, "a", 1)) == [Verdict.BUYER_LIMIT]


@pytest.mark.parametrize("how", ["cancel", "expire", "return"])
async def test_what_a_buyer_gives_back_may_be_taken_again(subject, store, how):
    await create(store, per_buyer_limit=2)
    await hold(store, "p", (1, "a", 2))
    assert await verdicts(store, "p", (2, "a", 1)) == [Verdict.BUYER_LIMIT]
    if how == "cancel":
        await store.cancel(target("p", 1), "cancelled")
    elif how == "expire":
        await subject.set_clock(START_MS + HOLD_MS)
        await store.expire("p", 8)
    else:
        await store.confirm(target("p", 1), "pay")
        assert await verdicts(store, "p", (2, "a", 1)) == [Verdict.BUYER_LIMIT]
        await store.return_sale(target("p", 1), 2, "command")
    assert await verdicts(store, "p", (3, "a", 2)) == [Verdict.HELD]


async def test_a_sale_opens_and_ends_to_the_millisecond(subject, store):
    opens, ends = START_MS + 1000, START_MS + 2000
    await create(store, starts_at_ms=opens, ends_at_ms=ends)
    for number, (now_ms, verdict) in enumerate(
        [
            (opens - 1, Verdict.NOT_STARTED),
            (opens, Verdict.HELD),
            (ends - 1, Verdict.HELD),
            (ends, Verdict.ENDED),
        ]
    ):
        await subject.set_clock(now_ms)
        assert await verdicts(store, "p", (number, "a", 1)) == [verdict]


async def test_a_paused_pool_sells_nothing_and_still_answers_repetitions(store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    await store.configure("p", {"state": PoolState.PAUSED}, created=None)
    given = await verdicts(store, "p", (1, "a", 1), (2, "b", 1))
    assert given == [Verdict.REPLAYED, Verdict.PAUSED]
    await store.configure("p", {"state": PoolState.OPEN}, created=None)
    assert await verdicts(store, "p", (2, "b", 1)) == [Verdict.HELD]


async def test_a_closed_pool_sells_nothing_and_its_holds_can_be_paid(store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    status, _ = await store.configure("p", {"state": PoolState.CLOSED}, created=None)
    assert status is ConfigureStatus.CONFIGURED
    assert await verdicts(store, "p", (2, "b", 1)) == [Verdict.ENDED]
    confirmed = await store.confirm(target("p", 1), "pay")
    assert confirmed.record.state is ReservationState.CONFIRMED


async def test_there_is_no_such_pool(store):
    with pytest.raises(UnknownPool):
        await reserve(store, "p", (1, "a", 1))


async def test_a_wave_is_released_by_whoever_comes_first(subject, store):
    first, second = START_MS + 1000, START_MS + 2000
    await create(store, total=6, locked=5, waves=(Wave(first, 2), Wave(second, 3)))
    await hold(store, "p", (0, "a", 1))
    await subject.set_clock(first - 1)
    reply = await reserve(store, "p", (1, "b", 1))
    assert (reply.verdicts, reply.next_wave_ms) == (b"3", first)
    await subject.set_clock(first)
    reply = await reserve(store, "p", (2, "b", 3), (3, "b", 2))
    assert (reply.verdicts, reply.next_wave_ms) == (b"30", second)
    await subject.set_clock(second)
    assert await verdicts(store, "p", (4, "c", 3)) == [Verdict.HELD]
    snapshot = await store.snapshot("p")
    assert snapshot.counters == PoolCounters(6, 0, 6, 0, 0)
    assert snapshot.rules.waves == ()


async def test_a_wave_releases_no_more_than_is_locked(subject, store):
    """Units that were unlocked by hand would otherwise be sold twice."""
    await create(store, total=5, locked=5, waves=(Wave(START_MS + 1000, 5),))
    await store.adjust("p", 0, -4, "unlock")
    await subject.set_clock(START_MS + 1000)
    given = await verdicts(store, "p", (1, "a", 5), (2, "b", 1))
    assert given == [Verdict.HELD, Verdict.SOLD_OUT]
    assert (await store.snapshot("p")).counters == PoolCounters(5, 0, 5, 0, 0)


async def test_expired_holds_are_reclaimed_when_stock_is_short(subject, store):
    await create(store, total=3)
    for number in range(3):
        await hold(store, "p", (number, f"b{number}", 1))
    await subject.set_clock(START_MS + HOLD_MS - 1)
    assert await verdicts(store, "p", (10, "c", 3)) == [Verdict.SOLD_OUT]
    await subject.set_clock(START_MS + HOLD_MS)
    assert await verdicts(store, "p", (11, "c", 3)) == [Verdict.HELD]
    records = (await store.lookup(0, [key(0), key(1), key(2)])).records
    assert {record.state for record in records} == {ReservationState.EXPIRED}


async def test_holds_are_left_alone_while_there_is_stock(subject, store):
    await create(store, total=3)
    await hold(store, "p", (1, "a", 2))
    await subject.set_clock(START_MS + HOLD_MS)
    await hold(store, "p", (2, "b", 1))
    assert (await store.lookup(0, [key(1)])).records[0].state is ReservationState.HELD


async def test_reclaiming_ends_no_more_batches_than_it_needs(subject, store):
    await create(store, total=4)
    await hold(store, "p", (1, "a", 1))
    await subject.set_clock(START_MS + 1)
    await hold(store, "p", (2, "a", 1), (3, "a", 1))
    await subject.set_clock(START_MS + 2)
    await hold(store, "p", (4, "a", 1))
    await subject.set_clock(START_MS + 2 + HOLD_MS)
    await hold(store, "p", (5, "b", 2))
    records = (await store.lookup(0, [key(number) for number in (1, 2, 3, 4)])).records
    held, expired = ReservationState.HELD, ReservationState.EXPIRED
    assert [record.state for record in records] == [expired, expired, expired, held]
    assert (await store.snapshot("p")).counters == PoolCounters(4, 1, 3, 0, 0)


async def test_an_extended_hold_is_passed_over(subject, store):
    await create(store, total=2)
    await hold(store, "p", (1, "a", 1), (2, "b", 1))
    await store.extend(target("p", 1), 2 * HOLD_MS)
    await subject.set_clock(START_MS + HOLD_MS)
    assert await verdicts(store, "p", (3, "c", 2)) == [Verdict.SOLD_OUT]
    assert await verdicts(store, "p", (4, "c", 1)) == [Verdict.HELD]
    assert (await store.lookup(0, [key(1)])).records[0].state is ReservationState.HELD
    await subject.set_clock(START_MS + 2 * HOLD_MS)
    assert await verdicts(store, "p", (5, "d", 1)) == [Verdict.HELD]
