"""N clients and K units: exactly K are given out, by tasks, by threads and by processes."""

from __future__ import annotations

from collections import Counter

from flashstock.hotpath.scripts import ConfirmStatus, Verdict
from flashstock.model.events import Confirmed, RefundDue, Released
from flashstock.model.records import unpack_record
from flashstock.model.rules import PoolCounters
from flashstock.model.states import Durability, PoolState, ReservationState
from tests.concurrency.racers import confirm, expire, reserve, reserve_carts
from tests.reference.asking import HOLD_MS, create, hold, key
from tests.reference.invariants import check
from tests.reference.subjects import START_MS

RACERS = 4
HELD, REPLAYED = int(Verdict.HELD), int(Verdict.REPLAYED)


def verdicts(answers):
    return Counter(verdict for racer in answers for verdict, _ in racer)


async def test_exactly_as_many_are_held_as_there_are(shard, race):
    units, each = 150, 200
    await create(shard.store, total=units, durability=Durability.FAST)
    told = [
        [("p", racer * each + number, f"buyer{racer}-{number}", 1) for number in range(each)]
        for racer in range(RACERS)
    ]
    answers = await race(*((reserve, requests) for requests in told))
    assert verdicts(answers) == {HELD: units, Verdict.SOLD_OUT: RACERS * each - units}
    state = await shard.state(["p"])
    assert state.pools["p"].counters == PoolCounters(units, 0, units, 0, 0)
    told_held = {
        key(number)
        for requests, racer in zip(told, answers, strict=True)
        for (_, number, _, _), (verdict, _) in zip(requests, racer, strict=True)
        if verdict == HELD
    }
    assert told_held == set(state.records)
    check(state, {})


async def test_requests_of_several_units_never_take_more_than_there_are(shard, race):
    units, each = 151, 100
    await create(shard.store, total=units, durability=Durability.FAST)
    told = [
        [("p", racer * each + number, f"buyer{racer}", 1 + number % 3) for number in range(each)]
        for racer in range(RACERS)
    ]
    answers = await race(*((reserve, requests) for requests in told))
    given = sum(
        quantity
        for requests, racer in zip(told, answers, strict=True)
        for (_, _, _, quantity), (verdict, _) in zip(requests, racer, strict=True)
        if verdict == HELD
    )
    state = await shard.state(["p"])
    assert given == state.pools["p"].counters.held == units
    check(state, {})


async def test_one_key_is_one_hold_whoever_asks(shard, race):
    """Ten keys, asked for by everybody at once and more than once."""
    await create(shard.store, total=1000, durability=Durability.FAST)
    requests = [("p", number % 10, f"buyer{number % 10}", 2) for number in range(40)]
    answers = await race(*((reserve, requests) for _ in range(RACERS)))
    assert verdicts(answers) == {HELD: 10, REPLAYED: RACERS * len(requests) - 10}
    state = await shard.state(["p"])
    assert state.pools["p"].counters.held == 20
    for racer in answers:
        for (_, number, _, _), (verdict, replay) in zip(requests, racer, strict=True):
            if verdict == REPLAYED:
                assert unpack_record(replay.decode()) == state.records[key(number)]
    check(state, {})


async def test_a_limit_holds_however_the_buyer_asks(shard, race):
    await create(shard.store, total=1000, per_buyer_limit=3, durability=Durability.FAST)
    told = [
        [("p", racer * 50 + number, f"buyer{number % 2}", 1) for number in range(50)]
        for racer in range(RACERS)
    ]
    answers = await race(*((reserve, requests) for requests in told))
    assert verdicts(answers) == {HELD: 6, Verdict.BUYER_LIMIT: RACERS * 50 - 6}
    state = await shard.state(["p"])
    assert state.pools["p"].buyers == {"buyer0": 3, "buyer1": 3}
    check(state, {"p": 3})


async def test_carts_take_all_their_lines_or_none(shard, race):
    await create(shard.store, "p", total=30)
    await create(shard.store, "q", total=25)
    told = []
    for racer in range(RACERS):
        carts = []
        for number in range(20):
            first = 1000 * racer + 2 * number
            lines = [("p", first, 1), ("q", first + 1, 1)]
            carts.append((f"cart{racer}-{number}", "ann", lines[:: 1 if racer % 2 else -1]))
        told.append(carts)
    answers = await race(*((reserve_carts, carts) for carts in told))
    assert sum(held for racer in answers for held in racer) == 25
    state = await shard.state(["p", "q"])
    assert (state.pools["p"].counters.held, state.pools["q"].counters.held) == (25, 25)
    carts_of = {
        pool: {record.cart for record in state.records.values() if record.pool == pool}
        for pool in ("p", "q")
    }
    assert carts_of["p"] == carts_of["q"]
    check(state, {})


async def test_one_payment_confirms_one_reservation(shard, race):
    """Everybody pays for another reservation with the same ten references."""
    await create(shard.store, total=1000)
    numbers = range(RACERS * 10)
    await hold(shard.store, "p", *((number, "ann", 1) for number in numbers))
    told = [
        [("p", racer * 10 + number, f"pay{number}") for number in range(10)]
        for racer in range(RACERS)
    ]
    answers = await race(*((confirm, sales) for sales in told))
    statuses = Counter(status for racer in answers for status in racer)
    assert statuses == {
        ConfirmStatus.CONFIRMED: 10,
        ConfirmStatus.PAYMENT_REF_USED: (RACERS - 1) * 10,
    }
    state = await shard.state(["p"])
    assert state.pools["p"].counters.sold == 10
    check(state, {})


async def test_one_reservation_is_confirmed_once(shard, race):
    await create(shard.store)
    await hold(shard.store, "p", (1, "ann", 1))
    told = [[("p", 1, f"pay{racer}")] * 20 for racer in range(RACERS)]
    answers = await race(*((confirm, sales) for sales in told))
    statuses = Counter(status for racer in answers for status in racer)
    assert statuses == {
        ConfirmStatus.CONFIRMED: 1,
        ConfirmStatus.REPLAYED: 19,
        ConfirmStatus.ALREADY_CONFIRMED: (RACERS - 1) * 20,
    }
    check(await shard.state(["p"]), {})


async def test_at_the_deadline_either_the_payment_or_the_sweep_wins(shard, race):
    """The pool is closed, so nobody who lost gets anything back from stock."""
    holds = 300
    await create(shard.store, total=holds)
    for number in range(holds):
        await hold(shard.store, "p", (number, "ann", 1))
    await shard.store.configure("p", {"state": PoolState.CLOSED.value}, created=None)
    await shard.set_clock(START_MS + HOLD_MS)
    numbers = sorted(range(holds), key=key, reverse=True)
    halves = numbers[0::2], numbers[1::2]
    paying = [[("p", number, f"pay{number}") for number in half] for half in halves]
    *paid, swept, more_swept = await race(
        *((confirm, sales) for sales in paying), *((expire, ("p", holds)) for _ in range(2))
    )
    statuses = Counter(status for racer in paid for status in racer)
    confirmed = statuses[ConfirmStatus.CONFIRMED]
    expired = sum(swept) + sum(more_swept)
    assert confirmed + expired == holds
    assert statuses == {ConfirmStatus.CONFIRMED: confirmed, ConfirmStatus.REFUND_DUE: expired}
    state = await shard.state(["p"])
    assert state.pools["p"].counters == PoolCounters(holds, expired, 0, confirmed, 0)
    ends = Counter(record.state for record in state.records.values())
    assert ends[ReservationState.CONFIRMED] == confirmed
    assert ends[ReservationState.EXPIRED] == expired
    found = Counter(type(event) for _, event in state.log)
    assert (found[Confirmed], found[Released], found[RefundDue]) == (confirmed, expired, expired)
    check(state, {})
